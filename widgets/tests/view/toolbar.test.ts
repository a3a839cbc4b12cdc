import { Kernel } from "./page";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Kind, Outcome } from "../../src/protocol";
import type { Filter } from "../../src/store";
import { Toolbar } from "../../src/view/toolbar";
import { lanesOf } from "../synthetic";

let kernel: Kernel;
let toolbar: Toolbar;
const filtered = vi.fn<(filter: Filter) => void>();

beforeEach(() => {
  filtered.mockReset();
  kernel = new Kernel();
  kernel.tell({ now: 1, lanes: lanesOf(2) });
  toolbar = new Toolbar(kernel.store, { follow: true, paused: false, toggleFollow() {}, togglePause() {}, fit() {}, zoom() {}, filtered }, []);
});

afterEach(() => kernel.store.dispose());

function choose(label: string, option: string): Filter {
  const select = toolbar.root.querySelector<HTMLSelectElement>(`[aria-label="${label}"]`)!;
  select.value = [...select.options].find(({ text }) => text === option)!.value;
  select.dispatchEvent(new Event("change"));
  return filtered.mock.lastCall![0];
}

describe("the filter", () => {
  it("is by worker, event and outcome, together", () => {
    expect([...choose("Filter by worker", "default-2").lanes]).toEqual([2]);
    expect([...choose("Filter by event", "Requests").kinds]).toEqual([Kind.REQUEST]);
    const both = choose("Filter by outcome", "Failed");
    expect([...both.outcomes]).toEqual([Outcome.ERROR, Outcome.CANCELLED, Outcome.TIMEOUT, Outcome.CRASHED]);
    expect([both.lanes.size, both.kinds.size]).toEqual([1, 1]);
  });

  it("keeps its worker when others come, and lets go of one that is no more", () => {
    choose("Filter by worker", "default-2");
    kernel.tell({ now: 2, lanes: lanesOf(4) });
    toolbar.draw();
    expect([...toolbar.filter().lanes]).toEqual([2]);
    kernel.tell({ now: 3, lanes: lanesOf(1) });
    toolbar.draw();
    expect([...filtered.mock.lastCall![0].lanes]).toEqual([]);
  });

  it("can be cleared as one", () => {
    choose("Filter by outcome", "Ok");
    expect(toolbar.clear()).toBe(true);
    expect(filtered.mock.lastCall![0]).toEqual({ lanes: new Set(), kinds: new Set(), outcomes: new Set(), text: "" });
    expect(toolbar.clear()).toBe(false);
  });

  it("reaches every kind of row", () => {
    const select = toolbar.root.querySelector<HTMLSelectElement>('[aria-label="Filter by event"]')!;
    const reached = new Set([...select.options].flatMap(({ text }) => [...choose("Filter by event", text).kinds]));
    expect(Object.values(Kind).filter((kind) => !reached.has(kind))).toEqual([]);
  });
});
