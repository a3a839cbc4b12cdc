import { describe, expect, it } from "vitest";
import { EVERYTHING } from "../../src/canvas/filter";
import { BUDGET, CLASSES, KINDS, Scene } from "../../src/canvas/lod";
import { Kind, Outcome } from "../../src/protocol";
import type { Filter } from "../../src/store";
import type { Row } from "../synthetic";
import { kept, lanesOf, life, random } from "../synthetic";
import { picture, sceneOf } from "./picture";

const SPANS = [Kind.CELL, Kind.SATURATED] as number[];
const few = life({ seed: 1, workers: 4, seconds: 60, mean: 0.3 }).rows;
const many = life({ seed: 2, workers: 4, seconds: 60, mean: 0.01, trouble: 0.02 }).rows;

function seen(rows: Row[], span: { from: number; to: number }): Row[] {
  return rows.filter(({ t, dur }) => t <= span.to && t + Math.fround(dur) >= span.from);
}

function spans(seed: number, count: number): { from: number; to: number }[] {
  const next = random(seed);
  return Array.from({ length: count }, () => {
    const from = next() * 60 - 2;
    return { from, to: from + 10 ** (next() * 4 - 2) };
  });
}

function counted(scene: Scene): number {
  let sum = 0;
  const { columns } = scene;
  for (let i = 0; i < columns.boxes * CLASSES * columns.length; i++) sum += columns.count[i]!;
  return sum;
}

function marked(scene: Scene): number[] {
  const counts = Array<number>(KINDS).fill(0);
  for (let m = 0; m < scene.marks.length; m++) counts[scene.marks.kind.data[m]!]! += scene.marks.count.data[m]!;
  return counts;
}

describe("Scene", () => {
  it("has every request of the span, as a bar or in a sum", () => {
    for (const rows of [few, many]) {
      const there = kept(rows);
      for (const span of spans(3, 40)) {
        const { scene } = sceneOf({ rows, span });
        const requests = seen(rows, span).filter(({ kind }) => kind === Kind.REQUEST);
        expect(scene.requests).toBe(requests.length);
        expect(scene.dense).toBe(requests.length > BUDGET);
        if (scene.dense) expect(counted(scene)).toBe(requests.length);
        else expect([...scene.bars.data.subarray(0, scene.bars.length)].map((i) => there[i]!.id)).toEqual(requests.map(({ id }) => id));
      }
    }
  });

  it("loses no marker at any zoom", () => {
    for (const rows of [few, many]) {
      for (const span of [{ from: -1, to: 70 }, { from: -1000, to: 1000 }, ...spans(4, 40)]) {
        const { scene } = sceneOf({ rows, span });
        const expected = Array<number>(KINDS).fill(0);
        for (const { kind } of seen(rows, span)) if (kind !== Kind.REQUEST && !SPANS.includes(kind)) expected[kind]!++;
        expect(marked(scene)).toEqual(expected);
      }
    }
  });

  it("piles only markers of one kind and lane that lie within one cell, and adds their bytes", () => {
    const next = random(5);
    const rows: Row[] = [];
    for (let id = 1; id <= 4000; id++) {
      const kind = [Kind.EXPORT, Kind.FALLBACK, Kind.CRASH][Math.floor(next() * 3)]!;
      rows.push({ t: next() * 60, dur: 0, extra: 1, id, lane: Math.floor(next() * 5), name: 0, life: 1, kind, outcome: 0 });
    }
    rows.sort((a, b) => a.t - b.t);
    const { scene, scale } = sceneOf({ rows, span: { from: 10, to: 50 } });
    const { marks } = scene;
    const inside = rows.filter(({ t }) => t >= 10 && t <= 50);
    expect(marks.sum.subarray(0, marks.length).reduce((a, b) => a + b)).toBe(inside.length);
    for (let m = 0; m < marks.length; m++) {
      const [first, newest] = [rows[marks.first.data[m]!]!, rows[marks.row.data[m]!]!];
      expect([first.kind, first.lane]).toEqual([newest.kind, newest.lane]);
      expect((newest.t - first.t) / scale.spp).toBeLessThanOrEqual(scene.cell);
      expect(marks.sum[m]).toBe(marks.count.data[m]);
    }
  });

  it("keeps the number of markers that are drawn within bounds by wider cells, and narrows them again", () => {
    const next = random(6);
    const rows: Row[] = [];
    for (let id = 1; id <= 45_000; id++) {
      rows.push({ t: id / 1000, dur: 0, extra: 9, id, lane: 1 + (id % 32), name: 0, life: 1, kind: 7 + Math.floor(next() * 3), outcome: 0 });
    }
    const scene = new Scene();
    sceneOf({ rows, lanes: lanesOf(32), span: { from: 0, to: 60 }, height: 700, scene });
    expect(scene.marks.length).toBeLessThan(1500);
    expect(marked(scene).reduce((a, b) => a + b)).toBe(45_000);
    sceneOf({ rows, lanes: lanesOf(32), span: { from: 0, to: 0.1 }, height: 700, scene });
    expect(scene.cell).toBe(12);
  });

  it("sums how much of each column requests ran, as a plain reckoning does", () => {
    const span = { from: 5, to: 55 };
    const { scene, layout, scale } = sceneOf({ rows: many, span });
    const { columns } = scene;
    for (const [lane, outcome] of [[1, Outcome.OK], [2, Outcome.OK], [3, Outcome.ERROR], [4, Outcome.CANCELLED]] as const) {
      const plain = new Float64Array(columns.length);
      for (const row of many) {
        if (row.lane !== lane || row.outcome !== outcome || row.kind !== Kind.REQUEST) continue;
        if (row.t > span.to || row.t + row.dur < span.from) continue;
        for (let c = 0; c < plain.length; c++) {
          const begin = columns.from + c * scale.spp;
          plain[c]! += Math.max(0, Math.min(begin + scale.spp, row.t + row.dur) - Math.max(begin, row.t)) / scale.spp;
        }
      }
      const at = columns.place(layout.boxOf[lane]!, outcome);
      for (let c = 0; c < plain.length - 1; c++) expect(Math.abs(columns.share[at + c]! - plain[c]!)).toBeLessThan(2e-3);
    }
  });

  it("joins in what the kernel has summed", () => {
    const intervals = Array.from({ length: 300 }, (_, i) => ({ t: i / 10, width: 0.1, busy: 0.5, count: 10, failed: 2, lane: 1 }));
    const { scene, layout } = sceneOf({ rows: few, intervals, span: { from: 0, to: 30 } });
    expect(scene.summed).toBe(true);
    expect(scene.dense).toBe(false);
    expect(counted(scene)).toBe(3000);
    const ok = scene.columns.place(layout.boxOf[1]!, Outcome.OK);
    const error = scene.columns.place(layout.boxOf[1]!, Outcome.ERROR);
    expect(scene.columns.share[ok + 400]).toBeCloseTo(0.4, 3);
    expect(scene.columns.share[error + 400]).toBeCloseTo(0.1, 3);
    const errors: Filter = { ...EVERYTHING, outcomes: new Set([Outcome.ERROR]) };
    expect(counted(sceneOf({ intervals, span: { from: 0, to: 30 }, filter: errors }).scene)).toBe(600);
    expect(counted(sceneOf({ intervals, span: { from: 0, to: 30 }, filter: { ...EVERYTHING, text: "fit" } }).scene)).toBe(0);
  });

  it("does not waver between bars and sums", () => {
    const scene = new Scene();
    const rows = (count: number): Row[] =>
      Array.from({ length: count }, (_, i) => ({ t: i / 100, dur: 0.01, extra: 0, id: i, lane: 1, name: 0, life: 1, kind: 0, outcome: 1 }));
    const span = { from: 0, to: 60 };
    const dense = [2900, 3100, 2900, 3100, 2500, 2300, 2900].map((count) => sceneOf({ rows: rows(count), span, scene }).scene.dense);
    expect(dense).toEqual([false, true, true, true, true, false, false]);
  });

  it("lets through what the filter lets through", () => {
    const span = { from: 0, to: 60 };
    const only: Filter = { lanes: new Set([1, 2]), kinds: new Set([Kind.REQUEST]), outcomes: new Set([Outcome.ERROR]), text: " FIT" };
    const { scene } = sceneOf({ rows: few, span, filter: only });
    const expected = few.filter((row) => row.lane > 0 && row.lane < 3 && row.kind === 0 && row.outcome === 2 && row.name === 0);
    expect(scene.bars.length).toBe(expected.length);
    expect(scene.marks.length + scene.spans.length + scene.areas.length).toBe(0);
  });

  it("shows what ended after the pause as running, and nothing that began after it", () => {
    for (const rows of [few, many]) {
      const { scene, drawn } = picture({ rows, span: { from: 0, to: 60 }, until: 30 });
      const began = rows.filter(({ kind, t }) => kind === Kind.REQUEST && t <= 30);
      const running = began.filter(({ t, dur }) => t + Math.fround(dur) > 30);
      expect(running.length).toBeGreaterThan(0);
      expect(scene.requests).toBe(began.length);
      if (scene.dense) {
        let open = 0;
        for (let box = 0; box < scene.columns.boxes; box++) {
          const at = scene.columns.place(box, Outcome.NONE);
          for (let c = 0; c < scene.columns.length; c++) open += scene.columns.count[at + c]!;
        }
        expect(open).toBe(running.length);
      } else expect([...drawn.bars.look.data.subarray(0, drawn.bars.length)].filter((look) => look === Outcome.NONE).length).toBe(running.length);
    }
  });

  it("takes kinds and outcomes that it does not know", () => {
    const rows = [{ ...few[0]!, kind: 200 }, { ...few[0]!, kind: Kind.REQUEST, dur: 1, outcome: 77 }];
    const { scene, drawn } = picture({ rows, span: { from: 0, to: 60 } });
    expect(marked(scene).reduce((a, b) => a + b)).toBe(1);
    expect(drawn.bars.length).toBe(1);
  });
});
