import { describe, expect, it } from "vitest";
import { EVERYTHING, Sieve } from "../../src/canvas/filter";
import { layoutOf } from "../../src/canvas/layout";
import { Scene } from "../../src/canvas/lod";
import { scaleOf } from "../../src/canvas/scales";
import { Tracks } from "../../src/canvas/tracks";
import { decode } from "../../src/data/decoder";
import { BARS, History, MARKERS } from "../../src/data/history";
import { LiveStore } from "../../src/data/store";
import { Kind, Outcome } from "../../src/protocol";
import { statisticsOf } from "../../src/view/statistics";
import { page } from "../../src/view/table";
import type { Row } from "../synthetic";
import { batchOf, kept, lanesOf, random } from "../synthetic";

const row = (part: Partial<Row>): Row => ({ t: 0, dur: 0, extra: 0, id: 0, lane: 1, name: 0, life: 1, kind: Kind.REQUEST, outcome: Outcome.OK, ...part });
const append = (history: History, data: Row[]): void => history.append(decode(...batchOf({ data })).rows);

function ids(history: History): number[] {
  return Array.from({ length: history.length }, (_, i) => history.id(i));
}

function newest(history: History): number[] {
  const found: number[] = [];
  history.newest((i) => found.push(history.id(i)));
  return found;
}

describe("History", () => {
  it("has the early markers after 300,000 bars, for every view", () => {
    const store = new LiveStore({ send() {} }, () => 0);
    const markers = Array.from({ length: 100 }, (_, i) => row({ t: i / 10, extra: 5, id: i + 1, kind: i % 2 ? Kind.EXPORT : Kind.CRASH, outcome: Outcome.NONE }));
    store.receive(...batchOf({ seq: 1, lanes: lanesOf(2), data: markers, strings: ["fit"], now: 10 }));
    for (let seq = 2; seq <= 301; seq++) {
      const data = Array.from({ length: 1000 }, (_, i) => row({ t: seq * 10 + i / 100, dur: 0.01, id: seq * 1000 + i }));
      store.receive(...batchOf({ seq, key: false, lanes: lanesOf(2), data, now: seq * 10 + 10 }));
    }
    const { rows } = store;
    expect([rows.bars, rows.length]).toEqual([BARS, BARS + 100]);
    const found: number[] = [];
    rows.within(0, 9.95, (first, last) => {
      for (let i = first; i < last; i++) if (rows.t(i) < 9.95) found.push(rows.id(i));
    });
    expect(found).toEqual(markers.map(({ id }) => id));
    expect(statisticsOf(store, { from: 0, to: 9.95 }).shared).toBe(250);
    const table = page(store, EVERYTHING, { from: 0, to: 9.95 }, 0);
    expect(table.total).toBe(100);
    expect(table.rows[0]!.id).toBe(100);
    const [scene, tracks, scale] = [new Scene(), new Tracks(), scaleOf({ from: -1, to: 9.95 }, 100, 800)];
    tracks.update(rows);
    scene.build(rows, store.density, layoutOf(store.lanes, 300, 0, new Set()), scale, new Sieve(EVERYTHING, () => ""), tracks);
    expect(scene.marks.count.data.subarray(0, scene.marks.length).reduce((a, b) => a + b)).toBe(100);
    store.dispose();
  });

  it("has bars and markers, each the newest in their order, under numbers that stay", () => {
    const next = random(5);
    const [bars, markers] = [70, 30];
    const history = new History(bars, markers);
    const numbers = new Map<number, number>();
    const moved: number[] = [];
    let plain: Row[] = [];
    let id = 0;
    for (let round = 0; round < 100; round++) {
      if (next() < 0.03) {
        history.clear();
        plain = [];
      }
      const size = next() < 0.1 ? Math.floor(next() * 400) : Math.floor(next() * 20);
      const share = next();
      const data = Array.from({ length: size }, () => row({ t: ++id, id, dur: next(), kind: next() < share ? Kind.CRASH : Kind.REQUEST }));
      append(history, data);
      plain.push(...data);
      const expected = [...kept(plain).filter(({ kind }) => kind === Kind.REQUEST).slice(-bars), ...kept(plain).filter(({ kind }) => kind !== Kind.REQUEST).slice(-markers)];
      expect(ids(history)).toEqual(expected.map((one) => one.id));
      expect(Array.from({ length: history.length }, (_, i) => history.kind(i))).toEqual(expected.map(({ kind }) => kind));
      expect(newest(history)).toEqual(expected.map((one) => one.id).sort((a, b) => b - a));
      for (let i = 0; i < history.length; i++) {
        const number = history.number(i);
        if (history.index(number) !== i || (numbers.get(history.id(i)) ?? number) !== number) moved.push(number);
        numbers.set(history.id(i), number);
      }
      const here = new Set(ids(history));
      for (const [known, number] of numbers) if (!here.has(known) && history.index(number) !== -1) moved.push(number);
      expect(moved).toEqual([]);
    }
  });

  it("keeps bars however many markers come", () => {
    const history = new History();
    append(history, Array.from({ length: 10 }, (_, i) => row({ id: i })));
    append(history, Array.from({ length: MARKERS + 1000 }, (_, i) => row({ id: 100 + i, kind: Kind.EXPORT })));
    expect([history.bars, history.length]).toEqual([10, 10 + MARKERS]);
    expect(newest(history).slice(-11)).toEqual([1100, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
  });

  it("finds every row of a span", () => {
    const next = random(6);
    const history = new History(1000, 600);
    for (let round = 0; round < 40; round++) {
      append(history, Array.from({ length: 100 }, (_, i) => row({ t: round * 10 + next() * 20, dur: next() * 5, id: round * 100 + i, kind: next() < 0.4 ? Kind.USER : Kind.REQUEST })));
      const from = next() * 400;
      const to = from + next() * 40;
      const found = new Set<number>();
      history.within(from, to, (first, last) => {
        for (let i = first; i < last; i++) found.add(i);
      });
      for (let i = 0; i < history.length; i++) if (history.t(i) <= to && history.t(i) + history.dur(i) >= from) expect(found.has(i)).toBe(true);
    }
  });
});
