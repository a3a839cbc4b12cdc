import { describe, expect, it } from "vitest";
import { hitTest } from "../../src/canvas/hit";
import { AXIS_HEIGHT } from "../../src/canvas/layout";
import { Kind } from "../../src/protocol";
import type { Open } from "../../src/protocol";
import type { Hit } from "../../src/store";
import type { Row } from "../synthetic";
import { kept, life, random } from "../synthetic";
import type { Options } from "./picture";
import { picture } from "./picture";

const { rows, open } = life({ seed: 7, workers: 4, seconds: 60, mean: 0.8 });

function scenes(options: Options) {
  const made = picture(options);
  const hit = (x: number, y: number): Hit | null => hitTest(made.drawn, made.ring, options.open ?? [], made.sieve, x, y);
  return { ...made, hit };
}

describe("hitTest", () => {
  it("finds each bar in its middle, unless a marker lies on it", () => {
    const { drawn, hit, named } = scenes({ rows, open, span: { from: 20, to: 40 } });
    const painted = new Set(named("fillRect").map(({ args }) => args.join()));
    const { bars } = drawn;
    expect(bars.length).toBeGreaterThan(50);
    let found = 0;
    for (let n = 0; n < bars.length; n++) {
      const [x0, y0, x1, y1] = [bars.x0, bars.y0, bars.x1, bars.y1].map(({ data }) => data[n]!) as [number, number, number, number];
      expect(painted.has([x0, y0, x1 - x0, y1 - y0].join())).toBe(true);
      const [x, y] = [Math.min(999, Math.max(101, (x0 + x1) / 2)), (y0 + y1) / 2];
      const got = hit(x, y)!;
      expect(got).not.toBeNull();
      if (got.row === bars.what.data[n]) found++;
      else if (got.row >= 0 && kept(rows)[got.row]!.kind === Kind.REQUEST) {
        // Bars less than a pixel wide lie one on the other.
        expect(x1 - x0).toBeLessThan(3);
      }
    }
    expect(found / bars.length).toBeGreaterThan(0.8);
  });

  it("tells nothing but what was painted under the pointer, and nothing where nothing was", () => {
    const { drawn, hit } = scenes({ rows, open, span: { from: 20, to: 40 } });
    const next = random(8);
    const kinds = new Set<string>();
    for (let n = 0; n < 3000; n++) {
      const [x, y] = [next() * 900, next() * 300];
      const near = [drawn.glyphs, drawn.bars, drawn.spans, drawn.areas, drawn.open].map((boxes) => {
        const there: number[] = [];
        for (let i = 0; i < boxes.length; i++) if (boxes.holds(i, x, y, 3)) there.push(boxes.what.data[i]!);
        return there;
      });
      const got = hit(x, y);
      if (got === null) {
        const exactly = [drawn.glyphs, drawn.bars, drawn.open].some((boxes) => {
          for (let i = 0; i < boxes.length; i++) if (boxes.holds(i, x, y)) return x >= 100 && y >= AXIS_HEIGHT;
          return false;
        });
        expect(exactly).toBe(false);
        kinds.add("nothing");
      } else if (got.row < 0) {
        expect(near[4]!.map((at) => open[at])).toContain(got.open);
        kinds.add("open");
      } else {
        expect(near.slice(0, 4).flat()).toContain(got.row);
        kinds.add("row");
      }
    }
    expect(kinds).toContain("nothing");
    expect(kinds).toContain("row");
  });

  it("finds what runs now", () => {
    const running: Open[] = [[901, 2, 3, 1, 5, 0.5, 77]];
    const { hit, layout } = scenes({ open: running, span: { from: 0, to: 10 }, now: 8 });
    const box = layout.boxes[layout.boxOf[2]!]!;
    const y = box.barTop + box.barHeight / 2;
    expect(hit(100 + 80 * 6, y)).toMatchObject({ row: -1, open: running[0] });
    expect(hit(100 + 80 * 9, y)).toBeNull();
    expect(hit(100 + 80 * 2, y)).toBeNull();
  });

  it("takes the topmost: a crash on the bar that it ended", () => {
    const bar: Row = { t: 2, dur: 3, extra: 0, id: 1, lane: 1, name: 0, life: 1, kind: Kind.REQUEST, outcome: 5 };
    const crash: Row = { ...bar, t: 5, dur: 0, id: 2, kind: Kind.CRASH };
    const { hit, drawn, layout } = scenes({ rows: [bar, crash], span: { from: 0, to: 10 } });
    const y = layout.boxes[1]!.y + layout.boxes[1]!.height / 2;
    const x = (drawn.glyphs.x0.data[0]! + drawn.glyphs.x1.data[0]!) / 2;
    expect(hit(x, y)!.row).toBe(1);
    expect(hit(100 + 80 * 3, y)!.row).toBe(0);
  });

  it("says how many a pile stands for, and gives the newest", () => {
    const pile = Array.from({ length: 9 }, (_, i): Row => ({ t: 5.001 + i / 1e4, dur: 0, extra: 1e6, id: i + 1, lane: 1, name: 0, life: 1, kind: Kind.EXPORT, outcome: 0 }));
    const { hit, drawn } = scenes({ rows: pile, span: { from: 0, to: 10 } });
    expect(drawn.glyphs.length).toBe(1);
    const got = hit(drawn.glyphs.x0.data[0]! + 3, drawn.glyphs.y0.data[0]! + 3)!;
    expect([got.count, got.row]).toEqual([9, 8]);
  });

  it("finds among sums the request that ran then and there", () => {
    const dense = life({ seed: 9, workers: 4, seconds: 60, mean: 0.01, trouble: 0 }).rows.filter(({ kind }) => kind === Kind.REQUEST);
    const { hit, scene, layout, scale } = scenes({ rows: dense, span: { from: 0, to: 60 } });
    expect(scene.dense).toBe(true);
    const next = random(10);
    let found = 0;
    for (let n = 0; n < 200; n++) {
      const lane = 1 + Math.floor(next() * 4);
      const x = 110 + next() * 780;
      const box = layout.boxes[layout.boxOf[lane]!]!;
      const got = hit(x, box.y + box.height / 2);
      if (got === null) continue;
      found++;
      const row = dense[got.row]!;
      const t = (x - 100) * scale.spp;
      expect(row.lane).toBe(lane);
      expect(Math.max(0, row.t - t, t - row.t - row.dur)).toBeLessThanOrEqual(3.01 * scale.spp);
    }
    expect(found).toBeGreaterThan(150);
  });

  it("finds nothing on the axis, in the gutter, below the lanes, and before anything was drawn", () => {
    const { hit, layout } = scenes({ rows, span: { from: 0, to: 60 } });
    expect(hit(500, AXIS_HEIGHT - 2)).toBeNull();
    expect(hit(50, 100)).toBeNull();
    expect(hit(500, AXIS_HEIGHT + layout.total + 5)).toBeNull();
    const empty = picture({ span: { from: 0, to: 1 } });
    empty.drawn.scale = null;
    expect(hitTest(empty.drawn, empty.ring, [], empty.sieve, 500, 100)).toBeNull();
  });
});
