import { describe, expect, it } from "vitest";
import { AXIS_HEIGHT, boxAt, HIGHEST, layoutOf, LOWEST, mostScroll } from "../../src/canvas/layout";
import { lanesOf } from "../synthetic";

const all = new Set<number>();

describe("layoutOf", () => {
  it("puts the pool first, then workers in order, then the user's", () => {
    const lanes = lanesOf(3).reverse();
    lanes.unshift({ lane: 9, label: "mine", kind: "user", worker: null, tainted_until: null, state: "idle" });
    expect(layoutOf(lanes, 400, 0, all).boxes.map(({ lane }) => lane.label)).toEqual(["pool", "default-1", "default-2", "default-3", "mine"]);
  });

  it.each([1, 2, 8, 16, 32, 200])("has lanes that do not overlap and bars inside them, of %i workers", (workers) => {
    const layout = layoutOf(lanesOf(workers), 320, 0, all);
    expect(layout.laneHeight).toBeGreaterThanOrEqual(LOWEST);
    expect(layout.laneHeight).toBeLessThanOrEqual(HIGHEST);
    layout.boxes.forEach((box, i) => {
      expect(box.y).toBe(AXIS_HEIGHT + i * layout.laneHeight);
      expect(box.barTop).toBeGreaterThan(box.y);
      expect(box.barTop + box.barHeight).toBeLessThan(box.y + box.height);
      expect(box.barHeight).toBeGreaterThanOrEqual(10);
      expect(layout.boxOf[box.lane.lane]).toBe(i);
    });
  });

  it("scrolls where there are too many, to the very last", () => {
    const lanes = lanesOf(40);
    const top = layoutOf(lanes, 320, 0, all);
    expect(top.boxes.length).toBeLessThan(41);
    expect(top.boxOf[40]).toBe(-1);
    const most = mostScroll(top);
    expect(most).toBe(41 * LOWEST - (320 - AXIS_HEIGHT));
    const bottom = layoutOf(lanes, 320, most, all);
    const last = bottom.boxes.at(-1)!;
    expect(last.lane.label).toBe("default-40");
    expect(last.y + last.height).toBe(320);
    expect(mostScroll(layoutOf(lanesOf(4), 320, 0, all))).toBe(0);
  });

  it("shows only the lanes that are asked for", () => {
    const layout = layoutOf(lanesOf(8), 320, 0, new Set([2, 5]));
    expect(layout.boxes.map(({ lane }) => lane.lane)).toEqual([2, 5]);
    expect(layout.boxOf[3]).toBe(-1);
  });

  it("finds the lane at a height", () => {
    const layout = layoutOf(lanesOf(8), 320, 0, all);
    for (const box of layout.boxes) {
      expect(boxAt(layout, box.y)).toBe(box);
      expect(boxAt(layout, box.y + box.height - 0.01)).toBe(box);
    }
    expect(boxAt(layout, AXIS_HEIGHT - 1)).toBeNull();
    expect(boxAt(layout, 319.9)).toBeNull();
  });

  it("has no lanes where there are none", () => {
    expect(layoutOf([], 320, 0, all).boxes).toEqual([]);
    expect(mostScroll(layoutOf([], 0, 0, all))).toBe(0);
  });
});
