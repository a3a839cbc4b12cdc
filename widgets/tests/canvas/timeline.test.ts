import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AXIS_HEIGHT } from "../../src/canvas/layout";
import { TimelineCanvas } from "../../src/canvas/timeline";
import { LiveStore } from "../../src/data/store";
import { Kind } from "../../src/protocol";
import type { Hit, Span } from "../../src/store";
import { batchOf, kept, lanesOf, life, NAMES } from "../synthetic";
import type { Recorder } from "./recorder";
import { recorder } from "./recorder";

const WIDTH = 912;
const LEFT = 112;
const HEIGHT = 300;
const { rows, open } = life({ seed: 11, workers: 4, seconds: 60, mean: 1 });
const lanes = lanesOf(4);

let host: HTMLElement;
let store: LiveStore;
let timeline: TimelineCanvas;
let canvas: HTMLCanvasElement;
let record: Recorder;
let here = 0;
let real = 0;
let reduced = false;

/** Frames that were painted since the last look. */
function painted(): number {
  const count = record.named("setTransform").length;
  record.calls.length = 0;
  return count;
}

function frame(): number {
  real += 40;
  timeline.draw();
  return painted();
}

function pass(seconds: number): void {
  here += seconds * 1000;
  real += seconds * 1000;
}

function pointer(type: string, x: number, y: number, more: MouseEventInit & { id?: number } = {}): void {
  const { id = 1, ...init } = more;
  const event = new MouseEvent(type, { clientX: x, clientY: y, bubbles: true, cancelable: true, button: 0, ...init });
  Object.defineProperty(event, "pointerId", { value: id });
  canvas.dispatchEvent(event);
}

function wheel(init: WheelEventInit): WheelEvent {
  const event = new WheelEvent("wheel", { bubbles: true, cancelable: true, clientX: 512, clientY: 100, ...init });
  canvas.dispatchEvent(event);
  return event;
}

function length({ from, to }: Span): number {
  return to - from;
}

beforeEach(() => {
  here = 0;
  real = 0;
  reduced = false;
  record = recorder();
  vi.spyOn(performance, "now").mockImplementation(() => real);
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockImplementation(function (this: HTMLCanvasElement) {
    // Hatching and stamps are drawn on canvases that are not in the page.
    return (this.isConnected ? record.ctx : null) as never;
  });
  vi.stubGlobal("matchMedia", () => ({ matches: reduced }));
  host = document.createElement("div");
  host.tabIndex = 0;
  Object.defineProperty(host, "clientWidth", { value: WIDTH });
  Object.defineProperty(host, "clientHeight", { value: HEIGHT });
  document.body.append(host);
  store = new LiveStore({ send() {} }, () => here);
  store.receive(...batchOf({ seq: 1, data: rows, open, lanes, strings: NAMES, now: 60 }));
  timeline = new TimelineCanvas(host, store);
  canvas = host.querySelector("canvas")!;
  frame();
});

afterEach(() => {
  timeline.dispose();
  store.dispose();
  host.remove();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

describe("drawing", () => {
  it("is for eyes only", () => {
    expect(canvas.getAttribute("aria-hidden")).toBe("true");
    expect(canvas.hasAttribute("tabindex")).toBe(false);
  });

  it("happens when something changed and not else", () => {
    store.receive(...batchOf({ seq: 2, key: false, now: 60, lanes }));
    expect(frame()).toBe(1);
    expect([frame(), frame()]).toEqual([0, 0]);
    timeline.selection = { from: 1, to: 2 };
    expect(frame()).toBe(1);
    timeline.filter = { ...timeline.filter, text: "fit" };
    expect(frame()).toBe(1);
    host.style.setProperty("--snakepit-ok", "#00ff00");
    expect(frame()).toBe(0);
    real += 1000;
    expect(frame()).toBe(1);
  });

  it("follows now by whole pixels, and stands where the kernel is silent", () => {
    expect(timeline.follow).toBe(true);
    expect(length(timeline.span)).toBeCloseTo(60, 9);
    pass(1);
    expect(frame()).toBe(1);
    expect(timeline.span.to).toBeCloseTo(61, 1);
    const pixels = (timeline.span.to * (WIDTH - LEFT)) / 60;
    expect(pixels).toBeCloseTo(Math.round(pixels), 6);
    pass(10);
    frame();
    pass(10);
    expect(frame()).toBe(0);
    expect(timeline.span.to).toBeCloseTo(65, 1);
  });

  it("moves by whole seconds where motion is to be reduced", () => {
    reduced = true;
    timeline.dispose();
    timeline = new TimelineCanvas(host, store);
    canvas = host.querySelector("canvas")!;
    const ends = new Set<number>();
    for (let n = 0; n < 30; n++) {
      pass(0.1);
      frame();
      ends.add(timeline.span.to);
    }
    expect([...ends].every((end) => Number.isInteger(end))).toBe(true);
    expect(ends.size).toBeLessThanOrEqual(5);
  });

  it("lets what runs grow in a picture that does not follow", () => {
    timeline.span = { from: 50, to: 70 };
    frame();
    expect(frame()).toBe(0);
    pass(0.5);
    expect(frame()).toBe(1);
    expect(timeline.follow).toBe(false);
    timeline.span = { from: 10, to: 20 };
    frame();
    pass(0.5);
    expect(frame()).toBe(0);
  });

  it("stands while it is paused, though rows come, and shows them when it goes on", () => {
    timeline.paused = true;
    frame();
    const { span } = timeline;
    pass(1);
    store.receive(...batchOf({ seq: 2, key: false, now: 61, lanes, data: [{ ...rows[0]!, t: 60.5, dur: 0.2, kind: Kind.REQUEST, lane: 1, id: 9999 }] }));
    expect(frame()).toBe(0);
    expect(timeline.span).toEqual(span);
    // Zooming draws, but still the picture of then.
    timeline.span = { from: 59, to: 62 };
    expect(frame()).toBe(1);
    let hits = 0;
    timeline.onpick = () => hits++;
    const x = LEFT + ((60.6 - 59) / 3) * (WIDTH - LEFT);
    pointer("pointerdown", x, AXIS_HEIGHT + 60);
    pointer("pointerup", x, AXIS_HEIGHT + 60);
    expect(hits).toBe(0);
    timeline.follow = true;
    expect(timeline.paused).toBe(false);
    expect(frame()).toBe(1);
    expect(timeline.span.to).toBeCloseTo(61, 0);
  });

  it("outlives a host without a context, without size and without lanes", () => {
    vi.mocked(HTMLCanvasElement.prototype.getContext).mockReturnValue(null);
    const bare = document.createElement("div");
    document.body.append(bare);
    const none = new LiveStore({ send() {} }, () => here);
    const other = new TimelineCanvas(bare, none);
    other.draw();
    expect([other.move("next"), other.focused]).toEqual([null, null]);
    other.fit();
    other.dispose();
    none.dispose();
    expect(bare.children.length).toBe(0);
    bare.remove();
  });
});

describe("the wheel", () => {
  it("is the page's unless the timeline has the focus", () => {
    const event = wheel({ deltaY: -100 });
    expect(event.defaultPrevented).toBe(false);
    expect(length(timeline.span)).toBeCloseTo(60, 6);
    host.focus();
    expect(wheel({ deltaY: -100 }).defaultPrevented).toBe(true);
    frame();
    expect(length(timeline.span)).toBeLessThan(60);
  });

  it("zooms with ctrl around the pointer", () => {
    timeline.span = { from: 10, to: 50 };
    let views = 0;
    timeline.onview = () => views++;
    const at = 10 + (40 * (512 - LEFT)) / (WIDTH - LEFT);
    expect(wheel({ deltaY: -120, ctrlKey: true }).defaultPrevented).toBe(true);
    expect(length(timeline.span)).toBeLessThan(40);
    const { from, to } = timeline.span;
    expect(from + ((to - from) * (512 - LEFT)) / (WIDTH - LEFT)).toBeCloseTo(at, 6);
    wheel({ deltaY: 120, ctrlKey: true });
    expect(length(timeline.span)).toBeCloseTo(40, 6);
    expect(views).toBe(2);
  });

  it("keeps now at the edge while it follows", () => {
    wheel({ deltaY: -120, ctrlKey: true });
    frame();
    expect(timeline.follow).toBe(true);
    expect(timeline.window).toBeLessThan(60);
    expect(timeline.span.to).toBeCloseTo(60, 0);
  });

  it("pans with shift and sideways", () => {
    timeline.span = { from: 10, to: 50 };
    wheel({ deltaY: 80, shiftKey: true });
    expect(timeline.span.from).toBeCloseTo(14, 6);
    wheel({ deltaX: -160 });
    expect(timeline.span.from).toBeCloseTo(6, 6);
    expect(length(timeline.span)).toBeCloseTo(40, 6);
  });
});

describe("the pointer", () => {
  it("drags time along, and follows no more", () => {
    const { to } = timeline.span;
    pointer("pointerdown", 500, 100);
    pointer("pointermove", 580, 100);
    pointer("pointermove", 660, 101);
    pointer("pointerup", 660, 101);
    expect(timeline.follow).toBe(false);
    expect(timeline.span.to).toBeCloseTo(to - 12, 0);
  });

  it("scrolls the lanes where it goes up and down, and goes on following", () => {
    store.receive(...batchOf({ seq: 2, key: false, now: 60, lanes: lanesOf(30) }));
    frame();
    expect(record.named("fillText").length).toBe(0);
    timeline.selection = null;
    timeline.draw();
    const labels = (): unknown[] => record.named("fillText").map(({ args }) => args[0]);
    expect(labels()).toContain("pool");
    record.calls.length = 0;
    pointer("pointerdown", 500, 280);
    pointer("pointermove", 502, 200);
    pointer("pointermove", 503, 100);
    pointer("pointerup", 503, 100);
    timeline.draw();
    expect(labels()).not.toContain("pool");
    expect(timeline.follow).toBe(true);
  });

  it("selects with shift, and a click with shift selects nothing", () => {
    timeline.span = { from: 0, to: 80 };
    const said: (Span | null)[] = [];
    timeline.onselect = (span) => said.push(span);
    pointer("pointerdown", LEFT + 100, 100, { shiftKey: true });
    pointer("pointermove", LEFT + 300, 100);
    pointer("pointerup", LEFT + 300, 100);
    expect(timeline.selection!.from).toBeCloseTo(10, 6);
    expect(timeline.selection!.to).toBeCloseTo(30, 6);
    expect(said.at(-1)).toEqual(timeline.selection);
    expect(timeline.span).toEqual({ from: 0, to: 80 });
    pointer("pointerdown", LEFT + 100, 100, { shiftKey: true });
    pointer("pointerup", LEFT + 100, 100);
    expect(timeline.selection).toBeNull();
    expect(said.at(-1)).toBeNull();
  });

  it("tells what it is over, what it has left, and picks what it clicks", () => {
    timeline.span = { from: 0, to: 60 };
    frame();
    const hovered: (Hit | null)[] = [];
    const picked: Hit[] = [];
    timeline.onhover = (hit) => hovered.push(hit);
    timeline.onpick = (hit) => picked.push(hit);
    const row = kept(rows).findIndex(({ kind, lane, dur }) => kind === Kind.REQUEST && lane === 3 && dur > 1.5);
    const { t, dur } = kept(rows)[row]!;
    const x = LEFT + ((t + dur / 2) / 60) * (WIDTH - LEFT);
    const y = AXIS_HEIGHT + 3.5 * 44;
    pointer("pointermove", x, y);
    expect(hovered.at(-1)).toMatchObject({ row, open: null });
    expect(frame()).toBe(1);
    pointer("pointerdown", x, y);
    pointer("pointerup", x + 1, y);
    expect(picked).toMatchObject([{ row }]);
    expect(timeline.focused).toMatchObject({ row });
    pointer("pointerleave", x, y);
    expect(hovered.at(-1)).toBeNull();
    expect(document.activeElement).toBe(host);
  });

  it("fits everything with a double click", () => {
    timeline.span = { from: 30, to: 31 };
    canvas.dispatchEvent(new MouseEvent("dblclick", { bubbles: true, cancelable: true }));
    const first = Math.min(...rows.map(({ t }) => t));
    expect(timeline.span.from).toBeLessThanOrEqual(first);
    expect(timeline.span.to).toBeGreaterThanOrEqual(60);
    expect(length(timeline.span)).toBeLessThan(65);
  });

  it("zooms with two fingers", () => {
    timeline.span = { from: 0, to: 40 };
    pointer("pointerdown", 400, 100, { id: 1 });
    pointer("pointerdown", 600, 100, { id: 2 });
    pointer("pointermove", 700, 100, { id: 2 });
    pointer("pointermove", 300, 100, { id: 1 });
    pointer("pointerup", 300, 100, { id: 1 });
    pointer("pointerup", 700, 100, { id: 2 });
    expect(length(timeline.span)).toBeCloseTo(20, 3);
  });
});

describe("the focus", () => {
  it("goes by keyboard to the newest in view, and along", () => {
    timeline.span = { from: 0, to: 30 };
    const first = timeline.move("next")!;
    const previous = timeline.move("previous")!;
    expect(kept(rows)[previous.row]!.t).toBeLessThanOrEqual(kept(rows)[first.row]!.t);
    expect(kept(rows)[previous.row]!.lane).toBe(kept(rows)[first.row]!.lane);
    expect(timeline.focused!.row).toBe(previous.row);
  });

  it("brings into view what it goes to", () => {
    timeline.span = { from: 0, to: 5 };
    timeline.move("next");
    const last = timeline.move("last")!;
    const t = last.row < 0 ? last.open![4] : kept(rows)[last.row]!.t;
    expect(timeline.span.from).toBeLessThan(t);
    expect(timeline.span.to).toBeGreaterThan(t);
    expect(length(timeline.span)).toBeCloseTo(5, 6);
  });

  it("stays on its row when a keyframe numbers the rows anew, and goes where the row is gone", () => {
    const there = kept(rows).indexOf(rows[10]!);
    timeline.focused = { row: there, open: null, count: 1, x: 0, y: 0 };
    store.receive(...batchOf({ seq: 5, key: true, data: rows.slice(9), lanes, now: 60 }));
    expect(timeline.focused).toMatchObject({ row: kept(rows.slice(9)).indexOf(rows[10]!) });
    expect(timeline.focused!.row).not.toBe(there);
    store.receive(...batchOf({ seq: 6, key: true, data: rows.slice(40), lanes, now: 60 }));
    expect(timeline.focused).toBeNull();
  });

  it("stays on a marker while requests come, and so does what is shown of it", () => {
    timeline.paused = true;
    timeline.span = { from: 0, to: 60 };
    frame();
    const crash = rows.find(({ kind }) => kind === Kind.CRASH)!;
    const [x, y] = [LEFT + (crash.t / 60) * (WIDTH - LEFT), AXIS_HEIGHT + (crash.lane + 0.5) * 44];
    const picked: Hit[] = [];
    timeline.onpick = (hit) => picked.push(hit);
    const ended = Array.from({ length: 500 }, (_, i) => ({ ...rows[0]!, id: 90_000 + i, kind: Kind.REQUEST, lane: 1, t: 61, dur: 0.1 }));
    for (const seq of [2, 3]) {
      // No frame is drawn between the batch and the click, and while it is paused there will be none.
      store.receive(...batchOf({ seq, key: false, data: ended, lanes, now: 62 }));
      pointer("pointerdown", x, y);
      pointer("pointerup", x, y);
      expect(store.rows.id(picked.at(-1)!.row)).toBe(crash.id);
      store.receive(...batchOf({ seq: seq + 10, key: false, data: ended, lanes, now: 62 }));
      expect(store.rows.id(timeline.focused!.row)).toBe(crash.id);
    }
  });

  it("stays with a request when it has ended", () => {
    const running = open[0]!;
    timeline.focused = { row: -1, open: running, count: 1, x: 0, y: 0 };
    expect(timeline.focused!.open).toBe(running);
    const ended = { ...rows[0]!, id: 77_777, kind: Kind.REQUEST, lane: running[1], t: running[4], dur: 60.5 - running[4], outcome: 1 };
    store.receive(...batchOf({ seq: 2, key: false, data: [ended], open: open.slice(1), lanes, now: 60.6 }));
    expect(timeline.focused).toMatchObject({ row: kept([...rows, ended]).indexOf(ended), open: null });
  });
});
