import { describe, expect, it } from "vitest";
import { decode } from "../../src/data/decoder";
import { DensityRing, RowRing } from "../../src/data/ring";
import type { Row } from "../synthetic";
import { batchOf, random } from "../synthetic";

function someRows(next: () => number, count: number, from: number): Row[] {
  return Array.from({ length: count }, (_, i) => {
    // A few long ones, so that begins are far from sorted.
    const dur = next() < 0.05 ? next() * 50 : next();
    const end = from + i * 0.1;
    const kind = Math.floor(next() * 27);
    return { t: end - dur, dur: Math.fround(dur), extra: i, id: from * 1000 + i, lane: i % 5, name: i % 7, life: 1, kind, outcome: i % 6 };
  });
}

function all(rows: RowRing): Row[] {
  return Array.from({ length: rows.length }, (_, i) => ({
    ...{ t: rows.t(i), dur: rows.dur(i), extra: rows.extra(i), id: rows.id(i), lane: rows.lane(i) },
    ...{ name: rows.name(i), life: rows.life(i), kind: rows.kind(i), outcome: rows.outcome(i) },
  }));
}

const append = (ring: RowRing, data: Row[]): void => ring.append(decode(...batchOf({ data })).rows);

describe("RowRing", () => {
  it.each([10, 255, 256, 257, 1000])("is an array that forgets its oldest, of %i", (capacity) => {
    const next = random(capacity);
    const ring = new RowRing(capacity);
    let plain: Row[] = [];
    let gone = 0;
    for (let round = 0; round < 60; round++) {
      if (next() < 0.05) {
        ring.clear();
        gone += plain.length + 1;
        plain = [];
      }
      const size = next() < 0.1 ? Math.floor(next() * capacity * 2.5) : Math.floor(next() * 40);
      const data = someRows(next, size, round);
      // More than fit: as if it were cleared first.
      if (size > capacity) gone++;
      append(ring, data);
      plain.push(...data);
      gone += Math.max(0, plain.length - capacity);
      plain = plain.slice(-capacity);
      expect(ring.length).toBe(plain.length);
      expect(ring.first).toBe(gone);
      expect(all(ring)).toEqual(plain);
    }
  });

  it.each([300, 2000])("finds every row of a span, of %i", (capacity) => {
    const next = random(capacity + 1);
    const ring = new RowRing(capacity);
    for (let round = 0; round < 40; round++) {
      if (round === 20) ring.clear();
      append(ring, someRows(next, Math.floor(next() * 300), round * 30));
      for (let n = 0; n < 10; n++) {
        const from = next() * 1300 - 50;
        const to = from + next() ** 3 * 500;
        const found = new Set<number>();
        let before = -1;
        ring.within(from, to, (first, last) => {
          expect(first).toBeGreaterThan(before);
          expect(last).toBeGreaterThan(first);
          expect(last).toBeLessThanOrEqual(ring.length);
          before = last - 1;
          for (let i = first; i < last; i++) found.add(i);
        });
        for (let i = 0; i < ring.length; i++) {
          if (ring.t(i) <= to && ring.t(i) + ring.dur(i) >= from) expect(found.has(i)).toBe(true);
        }
      }
    }
  });

  it("looks through few rows for a short span of many", () => {
    const ring = new RowRing();
    const data: Row[] = [];
    for (let i = 0; i < 100_000; i++) data.push({ t: i / 100, dur: 0.01, extra: 0, id: i, lane: 1, name: 0, life: 1, kind: 0, outcome: 1 });
    append(ring, data);
    let looked = 0;
    ring.within(500, 501, (first, last) => (looked += last - first));
    expect(looked).toBeGreaterThanOrEqual(100);
    expect(looked).toBeLessThanOrEqual(512);
  });
});

describe("DensityRing", () => {
  it("keeps the newest intervals and finds them by time", () => {
    const ring = new DensityRing(100);
    for (let round = 0; round < 5; round++) {
      const intervals = Array.from({ length: 40 }, (_, i) => ({ t: round * 40 + i, width: 1, busy: 0.5, count: i, failed: 0, lane: 1 }));
      ring.append(decode(...batchOf({ intervals })).density);
    }
    expect(ring.length).toBe(100);
    expect([ring.t(0), ring.t(99), ring.count(99), ring.width(3), ring.busy(3), ring.failed(3), ring.lane(3)]).toEqual([100, 199, 39, 1, 0.5, 0, 1]);
    let found = false;
    ring.within(150, 151, (first, last) => (found ||= first <= 50 && last > 51));
    expect(found).toBe(true);
  });
});
