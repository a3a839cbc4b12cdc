import { button, ORIGIN, pass, row, words } from "./page";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import widget, { standalone } from "../../src/index";
import type { ToKernel } from "../../src/protocol";
import { batchOf, lanesOf } from "../synthetic";

/** A model as anywidget hands it out: another object for each hook, over one that stays. */
class Model {
  readonly sent: ToKernel[] = [];
  readonly saved: Record<string, unknown>[] = [];
  traits: Record<string, unknown> = { mini: false, height: 0, follow: true, window: 30, selection: [], ended: "" };
  #changed: Record<string, unknown> = {};
  readonly #ears = new Map<string, Set<(...told: never[]) => void>>();

  proxy(): Parameters<ReturnType<typeof widget>["initialize"]>[0]["model"] {
    return {
      get: (name) => this.traits[name],
      set: (name, value) => {
        this.traits[name] = this.#changed[name] = value;
      },
      save_changes: () => {
        this.saved.push(this.#changed);
        this.#changed = {};
      },
      send: (content) => void this.sent.push(content as ToKernel),
      on: (name, heard) => void this.#ears.set(name, (this.#ears.get(name) ?? new Set()).add(heard)),
      off: (name, heard) => void this.#ears.get(name)?.delete(heard),
    };
  }

  tell(name: string, ...told: unknown[]): void {
    for (const heard of this.#ears.get(name) ?? []) heard(...(told as never[]));
  }

  batch(parts: Parameters<typeof batchOf>[0]): void {
    this.tell("msg:custom", ...batchOf({ origin_ms: ORIGIN, ...parts }));
  }
}

let model: Model;
let made: ReturnType<typeof widget>;
let ends: (() => void)[];
let page: DocumentVisibilityState;

function render(): HTMLElement {
  const el = document.body.appendChild(document.createElement("div"));
  ends.push(made.render({ model: model.proxy(), el }));
  return el;
}

const verbs = (): string[] => model.sent.map(({ verb, ...more }) => ("on" in more ? `${verb} ${more.on}` : verb));

beforeEach(() => {
  vi.useFakeTimers();
  page = "visible";
  vi.spyOn(document, "visibilityState", "get").mockImplementation(() => page);
  model = new Model();
  made = widget();
  ends = [made.initialize({ model: model.proxy() })];
});

afterEach(() => {
  for (const end of ends.reverse()) end();
  document.body.replaceChildren();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

describe("the widget", () => {
  it("says hello, and that it lives for as long as it is seen", async () => {
    render();
    expect(verbs()).toEqual(["hello", "visible true"]);
    await pass(11_000);
    expect(verbs().filter((verb) => verb === "ping")).toHaveLength(2);
    page = "hidden";
    document.dispatchEvent(new Event("visibilitychange"));
    expect(verbs().at(-1)).toBe("visible false");
    await pass(20_000);
    expect(verbs().at(-1)).toBe("visible false");
    page = "visible";
    document.dispatchEvent(new Event("visibilitychange"));
    expect(verbs().at(-1)).toBe("visible true");
  });

  it("says so when the page goes, and when the view does", () => {
    render();
    window.dispatchEvent(new Event("pagehide"));
    expect(verbs().at(-1)).toBe("visible false");
    window.dispatchEvent(new Event("pageshow"));
    ends.pop()!();
    expect(verbs().at(-1)).toBe("visible false");
  });

  it("has one store for two views, which the kernel can tell apart", async () => {
    const [one, two] = [render(), render()];
    model.batch({ now: 5, lanes: lanesOf(3) });
    await pass();
    for (const el of [one, two]) expect(words(el.querySelector("header")!)).toContain("default");
    expect(new Set(model.sent.map((message) => ("view" in message ? message.view : ""))).size).toBe(2);
    ends.pop()!();
    model.batch({ seq: 2, key: false, now: 6, lanes: lanesOf(3), summary: { ...batchOf({})[0].summary, pool: "other" } });
    await pass();
    expect(words(one.querySelector("header")!)).toContain("other");
  });

  it("shows what came before it was there", async () => {
    model.batch({ now: 5, lanes: lanesOf(3) });
    const el = render();
    await pass();
    expect(words(el.querySelector("header")!)).toContain("running");
  });

  it("writes back where one looks, and obeys when the kernel sets it", async () => {
    const el = render();
    model.batch({ now: 5, lanes: lanesOf(1) });
    button("Follow", el).click();
    expect(model.saved).toEqual([{ follow: false }]);
    model.traits["follow"] = true;
    model.tell("change:follow");
    await pass();
    expect(button("Follow", el).getAttribute("aria-pressed")).toBe("true");
    model.traits["selection"] = [ORIGIN / 1000 + 1, ORIGIN / 1000 + 3];
    model.tell("change:selection");
    await pass();
    expect(words(el.querySelector(".selection")!)).toContain("selected 2 s");
    expect(model.saved).toHaveLength(1);
    button("Clear", el).click();
    expect(model.saved.at(-1)).toEqual({ selection: [] });
    model.traits["ended"] = "the pool has stopped";
    model.tell("change:ended");
    await pass();
    expect(button("Stop pool", el).disabled).toBe(true);
  });
});

describe("a page without a kernel", () => {
  it("shows the keyframe, is never silent, and has no controls", async () => {
    const el = document.body.appendChild(document.createElement("div"));
    standalone(el, ...batchOf({ origin_ms: ORIGIN, now: 5, lanes: lanesOf(2) }));
    await pass(20_000);
    expect(words(el.querySelector("header")!)).toContain("busy 1 of 2");
    expect(words(el)).not.toContain("does not answer");
    expect(el.querySelector("footer")).toBeNull();
  });

  it("says at once that there is nobody to ask for more of a row", async () => {
    const el = document.body.appendChild(document.createElement("div"));
    standalone(el, ...batchOf({ origin_ms: ORIGIN, now: 5, lanes: lanesOf(2), strings: ["fit"], data: [row({ t: 1, dur: 2 })] }));
    await pass();
    button("Table", el).click();
    el.querySelector<HTMLElement>("tbody tr")!.click();
    await pass(0);
    const told = words(el.querySelector(".inspector")!);
    expect(told).toContain("request fit");
    expect(told).toContain("This page has no kernel to ask");
    expect(told).not.toContain("Asking");
  });
});
