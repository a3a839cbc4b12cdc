import { Kernel, words } from "./page";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { columns, Panels } from "../../src/view/panels";
import { lanesOf } from "../synthetic";

let kernel: Kernel;
let panels: Panels;

beforeEach(() => {
  kernel = new Kernel();
  panels = new Panels(kernel.store);
  document.body.append(panels.root);
});

afterEach(() => {
  panels.destroy();
  kernel.store.dispose();
});

function told(): string[] {
  return [...panels.root.children].map(words).filter((text) => text !== "");
}

describe("charts", () => {
  it("tell the latest values, and of workers the highest", () => {
    kernel.tell({
      ...{ now: 3, lanes: lanesOf(2) },
      points: [[1, 2, 10, 5, 8, 9], [2, 3, 12.5, 5, 1500, NaN]],
      figures: [[1, 1, 100, 50, NaN], [1.1, 2, 250, 20, NaN]],
    });
    panels.draw({ from: 0, to: 5 }, 112, 600);
    expect(told()).toEqual(["Queue 3", "Throughput 12.5/s", "Latency p50 5 ms p95 1.5 s p99 –", "Memory 250 MB default-2", "CPU 50 % default-1"]);
  });

  it("show memory of a GPU only where there is one", () => {
    kernel.tell({ now: 3, lanes: lanesOf(1), figures: [[1, 1, 100, 50, 2000]] });
    panels.draw({ from: 0, to: 5 }, 112, 600);
    expect(told().at(-1)).toBe("GPU mem. 2 GB default-1");
  });

  it("can be folded, each by its button", () => {
    panels.draw({ from: 0, to: 5 }, 112, 600);
    const fold = panels.root.querySelector("button")!;
    const plot = document.getElementById(fold.getAttribute("aria-controls")!)!;
    expect(fold.getAttribute("aria-expanded")).toBe("true");
    fold.click();
    expect([fold.getAttribute("aria-expanded"), plot.hidden]).toEqual(["false", true]);
  });
});

describe("their columns", () => {
  const line = { label: "a", colour: "ok" as const };

  it("hold the span and one point beyond, so that lines reach the edges", () => {
    const t = [0, 1, 2, 3, 4, 5];
    expect(columns([{ ...line, t, values: [0, 10, 20, NaN, 40, 50] }], { from: 1.5, to: 3.5 })).toEqual([[1, 2, 3, 4], [10, 20, null, 40]]);
  });

  it("join lines of different times", () => {
    const [t, a, b] = columns([{ ...line, t: [0, 2], values: [1, 2] }, { ...line, t: [1, 2], values: [3, 4] }], { from: 0, to: 2 });
    expect(t).toEqual([0, 1, 2]);
    expect([a![0], a![2], b![1], b![2]]).toEqual([1, 2, 3, 4]);
  });

  it("are empty where there is nothing", () => {
    expect(columns([], { from: 0, to: 1 })).toEqual([[], []]);
  });
});
