/** A page for a view: what jsdom lacks, and a kernel at the other end of the line that answers when it is told to. */
import { vi } from "vitest";
import { LiveStore } from "../../src/data/store";
import type { Details, FromKernel, ToKernel } from "../../src/protocol";
import { batchOf } from "../synthetic";
import type { Row } from "../synthetic";

// A pen that draws nowhere.
const pen = new Proxy({}, { get: (_, name) => (name === "measureText" ? () => ({ width: 6 }) : () => pen), set: () => true });
HTMLCanvasElement.prototype.getContext = (() => pen) as never;
globalThis.Path2D ??= class {
  addPath(): void {}
  arc(): void {}
  closePath(): void {}
  lineTo(): void {}
  moveTo(): void {}
  rect(): void {}
} as never;
globalThis.matchMedia ??= (() => ({ matches: false, addEventListener() {}, removeEventListener() {} })) as never;

export const ORIGIN = 1_760_000_000_000;

export class Kernel {
  readonly sent: ToKernel[] = [];
  readonly store = new LiveStore({ send: (message) => void this.sent.push(message) });
  #seq = 0;

  tell(parts: Parameters<typeof batchOf>[0]): void {
    this.#seq += 1;
    this.store.receive(...batchOf({ seq: this.#seq, key: this.#seq === 1, origin_ms: ORIGIN, ...parts }));
  }

  asked<V extends ToKernel["verb"]>(verb: V): Extract<ToKernel, { verb: V }>[] {
    return this.sent.filter((message): message is Extract<ToKernel, { verb: V }> => message.verb === verb);
  }

  answer(message: FromKernel): void {
    this.store.receive(message);
  }

  details(parts: Partial<Details>): void {
    const { ask, id } = this.asked("details").at(-1)!;
    this.answer({ ...{ type: "details", ask, id, found: true, event: "snakepit.request.executed" }, ...{ measurements: {}, metadata: {}, html: "", text: "" }, ...parts });
  }
}

export function row(parts: Partial<Row>): Row {
  return { t: 0, dur: 0, extra: 0, id: 1, lane: 1, name: 0, life: 1, kind: 0, outcome: 0, ...parts };
}

/** Lets frames, timers and promises go on. */
export async function pass(ms = 1000): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

export function press(target: Element, key: string, more: KeyboardEventInit = {}): KeyboardEvent {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
  target.dispatchEvent(event);
  return event;
}

/** The button of this name, as a screen reader has it. */
export function button(name: string, within: ParentNode = document): HTMLButtonElement {
  const found = [...within.querySelectorAll("button")].find((one) => (one.getAttribute("aria-label") ?? one.textContent) === name);
  if (found === undefined) throw new Error(`no button ${name}`);
  return found;
}

/** What can be read, without what is hidden. */
export function words(within: Element): string {
  if (within instanceof HTMLElement && within.hidden) return "";
  return [...within.childNodes].map((node) => (node instanceof Element ? words(node) : (node.textContent ?? ""))).join(" ").replace(/\s+/g, " ").trim();
}
