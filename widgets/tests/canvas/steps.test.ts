import { describe, expect, it } from "vitest";
import { EVERYTHING, Sieve } from "../../src/canvas/filter";
import type { Field, Step, Stop } from "../../src/canvas/steps";
import { step } from "../../src/canvas/steps";
import { Tracks } from "../../src/canvas/tracks";
import { Kind } from "../../src/protocol";
import type { Open } from "../../src/protocol";
import type { Row } from "../synthetic";
import { kept, life } from "../synthetic";
import { ringOf } from "./picture";

const { rows, open } = life({ seed: 4, workers: 3, seconds: 20, mean: 0.4 });

function field(filter = EVERYTHING): Field {
  return { rows: ringOf(rows), open, sieve: new Sieve(filter, () => "fit"), lanes: [0, 1, 2, 3] };
}

describe("step", () => {
  it("goes along a lane from its first to its last, and back, and misses none", () => {
    const here = field();
    const lane = 2;
    const expected = rows.filter((row) => row.lane === lane).length + open.filter((one) => one[1] === lane).length;
    const start: Stop = { row: kept(rows).findIndex((row) => row.lane === lane), open: null, lane, t: 3 };
    for (const [begin, way] of [["first", "next"], ["last", "previous"]] as const) {
      let stop = step(here, start, begin, 20)!;
      let before = stop.t;
      let count = 1;
      for (;;) {
        const after = step(here, stop, way, 20)!;
        if (after.row === stop.row && after.open === stop.open) break;
        expect(way === "next" ? after.t >= before : after.t <= before).toBe(true);
        expect(after.lane).toBe(lane);
        [stop, before] = [after, after.t];
        count++;
      }
      expect(count).toBe(expected);
    }
  });

  it("goes across to what lies nearest in time, and stays at the outermost lanes", () => {
    const here = field();
    const from: Stop = { row: 0, open: null, lane: 1, t: 10 };
    const down = step(here, from, "lane-down", 20)!;
    const nearest = Math.min(...rows.filter(({ lane }) => lane === 2).map(({ t }) => Math.abs(t - 10)));
    expect(down.lane).toBe(2);
    expect(Math.abs(down.t - 10)).toBe(nearest);
    expect(step(here, { ...from, lane: 0 }, "lane-up", 20)).toMatchObject({ lane: 0, t: 10 });
    expect(step(here, from, "lane-up", 20)!.lane).toBe(0);
  });

  it("begins with the newest that began before the picture's end", () => {
    const stop = step(field(), null, "next", 10)!;
    expect(stop.t).toBe(Math.max(...rows.filter(({ t }) => t <= 10).map(({ t }) => t)));
    expect(step({ ...field(), rows: ringOf([]), open: [] }, null, "next", 10)).toBeNull();
  });

  it("stops only at what the filter lets through", () => {
    const crashes = { ...EVERYTHING, kinds: new Set([Kind.CRASH]) };
    const here = field(crashes);
    const wanted = rows.filter(({ kind }) => kind === Kind.CRASH);
    if (wanted.length > 0) expect(kept(rows)[step(here, null, "first", 20)!.row]!.kind).toBe(Kind.CRASH);
    const lane = rows.find(({ kind }) => kind !== Kind.CRASH)!.lane;
    for (const where of ["next", "last", "first"] as Step[]) {
      const stop = step(here, { row: 0, open: null, lane, t: 5 }, where, 20)!;
      expect(stop.t === 5 || kept(rows)[stop.row]!.kind === Kind.CRASH).toBe(true);
    }
  });
});

describe("Tracks", () => {
  const bar = (t: number, dur: number, lane = 1): Row => ({ t, dur, extra: 0, id: 0, lane, name: 0, life: 1, kind: Kind.REQUEST, outcome: 1 });

  it("leaves one after the other on one track, a clock's jitter included", () => {
    const tracks = new Tracks();
    tracks.update(ringOf([bar(0, 1), bar(0.99995, 1), bar(2, 1), bar(0, 9, 2)]));
    expect([0, 2, 4, 6].map((number) => tracks.of(number))).toEqual([0, 0, 0, 0]);
    expect(tracks.count(1, 0)).toBe(1);
  });

  it("lets none overlap that ran at once, and needs no more tracks than threads", () => {
    const threads = 4;
    const data = life({ seed: 6, workers: 2, seconds: 60, mean: 0.3, threads, trouble: 0 }).rows.filter(({ kind }) => kind === Kind.REQUEST);
    const tracks = new Tracks();
    const ring = ringOf(data);
    tracks.update(ring);
    data.forEach((a, i) => {
      for (let j = Math.max(0, i - 60); j < i; j++) {
        const b = data[j]!;
        if (a.lane !== b.lane || tracks.of(ring.number(i)) !== tracks.of(ring.number(j))) continue;
        expect(Math.min(a.t + a.dur, b.t + b.dur) - Math.max(a.t, b.t)).toBeLessThan(0.01 + 0.03 * Math.max(a.dur, b.dur));
      }
    });
    expect(tracks.count(1, 0)).toBeLessThanOrEqual(threads + 1);
    expect(tracks.count(1, 0)).toBeGreaterThanOrEqual(threads - 1);
  });

  it("puts what runs now where nothing lies", () => {
    const tracks = new Tracks();
    tracks.update(ringOf([bar(0, 2), bar(1, 2)]));
    const running: Open[] = [[1, 1, 0, 1, 2.5, 0, 1], [2, 1, 0, 1, 2.6, 0, 2], [3, 2, 0, 1, 0, 0, 3]];
    expect([...tracks.ofOpen(running)]).toEqual([0, 2, 0]);
    expect(tracks.count(1, 3)).toBe(3);
  });

  it("begins anew when a keyframe replaced the rows", () => {
    const tracks = new Tracks();
    const ring = ringOf([bar(0, 5), bar(1, 5)]);
    tracks.update(ring);
    expect(tracks.count(1, 0)).toBe(2);
    ring.clear();
    tracks.update(ring);
    expect(tracks.count(1, 0)).toBe(1);
  });
});
