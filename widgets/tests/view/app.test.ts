import { button, Kernel, ORIGIN, pass, press, row, words } from "./page";
import axe from "axe-core";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TimelineCanvas } from "../../src/canvas/timeline";
import { Kind, Outcome } from "../../src/protocol";
import { mount } from "../../src/view/app";
import type { Options, Told, View } from "../../src/view/app";
import { lanesOf, SUMMARY } from "../synthetic";

const NAMES = ["", "fit", "<img src=x onerror=alert(1)>\u202eevil", "segfault", "score"];
const ROWS = [
  row({ id: 1, t: 1, dur: 2, extra: 0.003, name: 1, outcome: Outcome.OK }),
  row({ id: 2, t: 2, dur: 2, lane: 2, name: 2, outcome: Outcome.ERROR }),
  row({ id: 3, t: 5, lane: 2, kind: Kind.CRASH, name: 3 }),
  row({ id: 4, t: 6, dur: 1, name: 4, outcome: Outcome.OK }),
];

let kernel: Kernel;
let host: HTMLElement;
let view: View | null = null;

function show(options: Partial<Options> = {}, told: Told = {}): void {
  view = mount(host, kernel.store, { mini: false, height: 0, standalone: false, ...options }, told);
}

const root = (): HTMLElement => host.querySelector(".snakepit-nb")!;
const picture = (): HTMLElement => host.querySelector(".picture")!;
const lines = (): string[] => [...host.querySelectorAll("tbody tr")].map((line) => [...line.children].map((cell) => cell.textContent).join(" | "));

beforeEach(() => {
  vi.useFakeTimers();
  host = document.body.appendChild(document.createElement("div"));
  kernel = new Kernel();
  kernel.tell({
    ...{ now: 10, lanes: lanesOf(2), strings: NAMES, data: ROWS, open: [[9, 1, 4, 1, 8, 0.5, 77]] },
    summary: { ...SUMMARY, requests: { ...SUMMARY.requests, ok: 1234, error: 1 }, bytes_shared: 1.2e9, queued: 3 },
  });
});

afterEach(() => {
  view?.close();
  view = null;
  kernel.store.dispose();
  document.body.replaceChildren();
  vi.useRealTimers();
});

describe("what is read", () => {
  it("tells the pool in its header", async () => {
    show();
    await pass();
    const head = words(host.querySelector("header")!);
    for (const said of ["default", "▶ running", "busy 1 of 2", "queued 3", "ok 1,234", "failed 1", "shared 1.2 GB", "live"]) expect(head).toContain(said);
  });

  it("says of a recording that it is one, and shows all of it at first", async () => {
    const fit = vi.spyOn(TimelineCanvas.prototype, "fit");
    show({ recorded: true, follow: false, ended: "this is a recording" });
    await pass();
    await pass();
    expect(words(host.querySelector("header")!)).toContain("a recording");
    expect(words(host.querySelector("footer")!)).toContain("Nothing can be done: this is a recording.");
    expect(fit).toHaveBeenCalledTimes(1);
    fit.mockRestore();
  });

  it("describes the picture in words, which are not spoken unasked", async () => {
    show();
    await pass();
    const said = document.getElementById(picture().getAttribute("aria-describedby")!)!;
    expect(said.textContent).toContain("1 of 2 workers busy");
    expect(said.closest("[aria-live],[role=status],[role=alert]")).toBeNull();
  });

  it("interrupts for a crash that is new, and for no other", async () => {
    show();
    await pass();
    const alert = host.querySelector("[role=alert]")!;
    expect(alert.textContent).toBe("");
    kernel.tell({ now: 11, lanes: lanesOf(2), data: [row({ id: 5, t: 11, lane: 2, kind: Kind.CRASH, name: 3 })], summary: { ...SUMMARY, crashes: 1 } });
    await pass();
    expect(alert.textContent).toContain("crash segfault, default-2");
    expect(host.querySelectorAll("[role=alert], [aria-live]")).toHaveLength(1);
  });

  it("says that the kernel is silent, and that nothing can be done then", async () => {
    show();
    await pass(6000);
    expect(words(host.querySelector("header")!)).toContain("the kernel does not answer");
    expect(words(host.querySelector("footer")!)).toContain("Nothing can be done: the kernel does not answer");
    expect(button("Recycle all").disabled).toBe(true);
    expect(button("Recycle all").title).toContain("the kernel does not answer");
  });

  it("has no serious fault that axe finds", async () => {
    show();
    await pass();
    for (const name of ["Table", "Legend", "Keys"]) button(name).click();
    press(picture(), "ArrowLeft");
    press(picture(), "Enter");
    await pass();
    vi.useRealTimers();
    // jsdom has no layout: contrast is measured in the browser.
    const found = await axe.run(root(), { rules: { "color-contrast": { enabled: false } } });
    expect(found.violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`)).toEqual([]);
  }, 30_000);
});

describe("keys", () => {
  it("keeps every key to itself", () => {
    const heard = vi.fn();
    document.addEventListener("keydown", heard);
    show();
    for (const key of ["d", "f", "Enter", "Escape"]) press(picture(), key);
    document.removeEventListener("keydown", heard);
    expect(heard).not.toHaveBeenCalled();
    expect(root().dataset["lmSuppressShortcuts"]).toBe("true");
  });

  it("follows and pauses", async () => {
    const follow = vi.fn();
    show({}, { follow });
    press(picture(), "f");
    expect(follow).toHaveBeenCalledWith(false);
    press(picture(), "p");
    await pass();
    expect(button("Follow").getAttribute("aria-pressed")).toBe("false");
    expect(button("Pause").getAttribute("aria-pressed")).toBe("true");
  });

  it("leaves typing alone, and the browser's own keys", () => {
    show();
    press(picture(), "/");
    const search = host.querySelector("input[type=search]")!;
    expect(document.activeElement).toBe(search);
    expect(press(search, "t").defaultPrevented).toBe(false);
    expect(press(picture(), "f", { ctrlKey: true }).defaultPrevented).toBe(false);
    expect(host.querySelector<HTMLElement>(".events")!.hidden).toBe(true);
  });

  it("goes from row to row and tells which", async () => {
    show();
    await pass();
    press(picture(), "ArrowLeft");
    const said = (): string => document.getElementById(picture().getAttribute("aria-activedescendant")!)!.getAttribute("aria-label")!;
    const first = said();
    press(picture(), "ArrowLeft");
    expect(first).not.toBe("");
    expect(said()).not.toBe(first);
  });

  it("lists the keys and closes the list", () => {
    show();
    press(picture(), "?");
    expect(words(root())).toContain("filter by text");
    press(picture(), "Escape");
    expect(words(root())).not.toContain("filter by text");
  });
});

describe("table", () => {
  it("shows what runs, then the newest first", async () => {
    show();
    press(picture(), "t");
    await pass();
    expect(lines()).toHaveLength(5);
    expect(lines()[0]).toMatch(/request \| default-1 \| score \| 2(\.\d+)? s|request \| default-1 \| score \| 3(\.\d+)? s/);
    expect(lines()[0]).toContain("running");
    expect(lines().map((line) => line.split(" | ")[3])).toEqual(["score", "score", "segfault", "<img src=x onerror=alert(1)>\\u202eevil", "fit"]);
    expect(host.querySelector("tbody img")).toBeNull();
  });

  it("obeys the filter", async () => {
    show();
    press(picture(), "t");
    const search = host.querySelector<HTMLInputElement>("input[type=search]")!;
    search.value = "SCORE";
    search.dispatchEvent(new Event("input"));
    await pass();
    expect(lines()).toHaveLength(2);
    press(search, "Escape");
    press(search, "Escape");
    await pass();
    expect(lines()).toHaveLength(5);
  });

  it("obeys the selection, whose figures are told", async () => {
    const selection = vi.fn();
    show({ selection: [ORIGIN / 1000 + 0.5, ORIGIN / 1000 + 4.5] }, { selection });
    press(picture(), "t");
    await pass();
    expect(lines()).toHaveLength(2);
    const told = words(host.querySelector(".selection")!);
    for (const said of ["selected 4 s", "requests 2", "failed 1", "per second 0.5", "default-1 50 %"]) expect(told).toContain(said);
    expect(selection).not.toHaveBeenCalled();
    press(picture(), "Escape");
    expect(selection).toHaveBeenCalledWith([]);
  });

  it("stands while one reads in it", async () => {
    show();
    press(picture(), "t");
    await pass();
    host.querySelector<HTMLElement>("tbody tr")!.focus();
    const before = lines();
    kernel.tell({ now: 12, lanes: lanesOf(2), data: [row({ id: 6, t: 11, dur: 0.5, name: 1, outcome: 1 })] });
    await pass();
    expect(lines()).toEqual(before);
    press(document.activeElement!, "ArrowDown");
    expect(document.activeElement).toBe(host.querySelectorAll("tbody tr")[1]);
    press(document.activeElement!, "Enter");
    await pass();
    expect(words(host.querySelector("aside")!)).toContain("request score");
    expect(lines()).not.toEqual(before);
    expect(lines()[0]).toContain("fit | 500 ms | ok");
  });
});

describe("inspector", () => {
  async function open(nth: number): Promise<HTMLElement> {
    show();
    press(picture(), "t");
    await pass();
    host.querySelectorAll<HTMLElement>("tbody tr")[nth]!.click();
    await pass(0);
    return host.querySelector("aside")!;
  }

  it("tells what it knows at once, and the rest when the kernel has told", async () => {
    const aside = await open(3);
    expect(words(aside)).toContain("Asking the kernel…");
    expect(words(aside)).toContain("Outcome error");
    expect(kernel.asked("details").at(-1)!.id).toBe(2);
    kernel.details({ measurements: { duration_us: 5 }, metadata: { shape: [3, 4], evil: "<b>x</b>" }, html: "<p>broken</p><script>parent.x = 1</script>", text: "a\u001b[31mb" });
    await pass(0);
    for (const said of ["snakepit.request.executed", "duration_us 5", "shape [3,4]", "evil <b>x</b>", "a\\u001b[31mb"]) expect(words(aside)).toContain(said);
    const frame = aside.querySelector("iframe")!;
    expect(frame.getAttribute("sandbox")).toBe("");
    expect(frame.srcdoc).toContain("default-src 'none'");
    expect(frame.srcdoc).toContain("<p>broken</p>");
    expect(aside.querySelector("script, b")).toBeNull();
  });

  it("says why nothing more came", async () => {
    const aside = await open(3);
    kernel.details({ found: false });
    await pass(0);
    expect(words(aside)).toContain("no longer keeps this event");
  });

  it("cancels a request that runs, and sees its end", async () => {
    const aside = await open(0);
    button("Cancel request").click();
    expect(kernel.asked("do").at(-1)).toMatchObject({ action: "cancel", request: 77 });
    kernel.tell({ now: 12, lanes: lanesOf(2), data: [row({ id: 10, t: 8, dur: 2, extra: 0.5, name: 4, outcome: Outcome.CANCELLED })] });
    await pass();
    expect(words(aside)).toContain("Outcome cancelled");
    expect(() => button("Cancel request")).toThrow();
  });

  it("recycles the row's worker", async () => {
    await open(2);
    button("Recycle default-2.1").click();
    expect(kernel.asked("do").at(-1)).toMatchObject({ action: "recycle", worker: "default-2.1" });
  });

  it("gives the focus back", async () => {
    show();
    await pass();
    picture().focus();
    press(picture(), "ArrowLeft");
    press(picture(), "Enter");
    expect(host.querySelector("aside")!.contains(document.activeElement)).toBe(true);
    press(document.activeElement!, "Escape");
    expect(document.activeElement).toBe(picture());
  });
});

describe("kinds of view", () => {
  it("a small one has header, lanes and the table's button", async () => {
    show({ mini: true });
    await pass();
    expect(host.querySelector("footer, .panels, .bar")).toBeNull();
    button("Table").click();
    await pass();
    expect(lines()).toHaveLength(5);
  });

  it("one without a kernel asks for nothing", async () => {
    show({ standalone: true });
    press(picture(), "t");
    await pass();
    host.querySelector<HTMLElement>("tbody tr")!.click();
    expect(words(host.querySelector("aside")!)).toContain("no kernel to ask");
    expect(host.querySelector("footer")).toBeNull();
    expect(words(host.querySelector(".menu")!)).not.toContain("Perfetto");
    expect(kernel.sent).toEqual([]);
  });

  it("leaves nothing behind", async () => {
    show();
    await pass();
    view!.close();
    view = null;
    expect(host.childElementCount).toBe(0);
    kernel.tell({ now: 13, lanes: lanesOf(2) });
    await pass();
    expect(host.childElementCount).toBe(0);
  });
});
