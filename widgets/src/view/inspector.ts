/**
 * One row in full: what the columns say at once, the whole event and its error when the kernel has told.
 *
 * Rule: the error page is the kernel's markup; it is shown in a frame that may do nothing.
 */
import { visible, visibleLines } from "../data/visible";
import { Kind, POOL_LANE } from "../protocol";
import type { Details } from "../protocol";
import type { Store } from "../store";
import type { Controls } from "./controls";
import { h, write } from "./dom";
import { clock, duration, moment } from "./format";
import { extraOf, kindOf, laneOf, outcomeOf } from "./row";
import type { Row } from "./row";

export class Inspector {
  readonly root: HTMLElement;
  row: Row | null = null;
  readonly #title = h("h2", { tabindex: -1 });
  readonly #facts = h("dl", { class: "facts" });
  readonly #acts = h("div", { class: "set" });
  readonly #more = h("div", { class: "more" });
  #asked = 0;
  #html = "";
  #cancel: HTMLButtonElement | null = null;
  #recycle: HTMLButtonElement | null = null;

  constructor(
    private readonly store: Store,
    private readonly controls: Controls | null,
    private readonly standalone: boolean,
    closed: () => void,
  ) {
    const close = h("button", { type: "button", class: "sign", "aria-label": "Close the inspector (Esc)", title: "Close (Esc)", click: closed }, "×");
    this.root = h("aside", { "aria-label": "Inspector", class: "inspector" }, h("div", { class: "head" }, this.#title, close), this.#acts, this.#facts, this.#more);
    this.root.hidden = true;
  }

  hide(): void {
    this.root.hidden = true;
    this.row = null;
    this.#asked += 1;
  }

  show(row: Row): void {
    this.row = row;
    this.root.hidden = false;
    write(this.#title, `${kindOf(row)}${row.name === "" || row.name === "…" ? "" : ` ${row.name}`}`);
    this.#facts.replaceChildren();
    this.#actions(row);
    this.draw();
    void this.#ask(row.id);
    this.#title.focus({ preventScroll: true });
    // Where the page is narrow it lies below the charts.
    this.root.scrollIntoView?.({ block: "nearest" });
  }

  /** What changes while a request runs: how long it has, and that it ended. */
  draw(): void {
    const { row } = this;
    if (row === null) return;
    if (row.request !== null) {
      const open = this.store.open.find((one) => one[6] === row.request);
      if (open === undefined) {
        this.#ended(row);
        return;
      }
      row.dur = Math.max(0, this.store.now() - row.t);
    }
    const reason = this.controls?.disabled ?? "";
    for (const button of [this.#cancel, this.#recycle]) {
      if (button === null) continue;
      button.disabled = reason !== "";
      button.title = reason === "" ? "" : `Not possible: ${reason}`;
    }
    this.#list(row);
  }

  /** The row of a request that ended meanwhile; it bears the same lane, name and beginning. */
  #ended(row: Row): void {
    const { rows } = this.store;
    for (let i = rows.length - 1; i >= 0; i -= 1) {
      if (rows.kind(i) !== Kind.REQUEST || rows.lane(i) !== row.lane || Math.abs(rows.t(i) - row.t) > 2e-3) continue;
      row.id = rows.id(i);
      row.dur = rows.dur(i);
      row.outcome = rows.outcome(i);
      void this.#ask(row.id);
      break;
    }
    row.request = null;
    this.#actions(row);
    this.#list(row);
  }

  #list(row: Row): void {
    const lane = this.store.lanes[row.lane];
    const at = this.store.originMs + row.t * 1000;
    const facts: [string, string][] = [["When", row.dur > 0 ? `${moment(at)} – ${clock(at + row.dur * 1000)}` : moment(at)]];
    const outcome = outcomeOf(row);
    if (outcome !== "") facts.push(["Outcome", outcome]);
    if (row.dur > 0) facts.push(["Duration", duration(row.dur)]);
    if (row.kind === Kind.REQUEST) facts.push(["Waited", duration(row.extra)]);
    else if (extraOf(row) !== "") facts.push(["More", extraOf(row)]);
    if (row.lane === POOL_LANE) facts.push(["Lane", laneOf(this.store, row.lane)]);
    else facts.push(["Slot", `${laneOf(this.store, row.lane)}${lane === undefined ? "" : ` (${lane.state})`}`]);
    if (row.life > 0) facts.push(["Life", `worker no. ${row.life} of this slot`]);
    if (row.request !== null) facts.push(["Request", String(row.request)]);
    if (row.name !== "") facts.push(["Name", row.name]);
    list(this.#facts, facts);
  }

  #actions(row: Row): void {
    this.#acts.replaceChildren();
    this.#cancel = this.#recycle = null;
    const controls = this.controls;
    if (controls === null) return;
    const { request } = row;
    if (request !== null) {
      this.#cancel = h("button", { type: "button", click: () => void controls.act({ action: "cancel", request }, `Cancelling request ${request}`) }, "Cancel request");
      this.#acts.append(this.#cancel);
    }
    const worker = this.store.lanes[row.lane]?.worker ?? null;
    if (row.lane !== POOL_LANE && worker !== null) {
      const label = visible(worker, 60);
      this.#recycle = h("button", { type: "button", click: () => void controls.act({ action: "recycle", worker }, `Recycling ${label}`) }, `Recycle ${label}`);
      this.#acts.append(this.#recycle);
    }
  }

  async #ask(id: number): Promise<void> {
    this.#asked += 1;
    const asked = this.#asked;
    if (this.standalone) {
      this.#more.replaceChildren(h("p", { class: "faint" }, "This page has no kernel to ask for the full event."));
      return;
    }
    this.#more.replaceChildren(h("p", { class: "faint", role: "status" }, "Asking the kernel…"));
    let answer: Details | string;
    try {
      answer = await this.store.details(id);
    } catch (error) {
      answer = visible(error instanceof Error ? error.message : String(error));
    }
    if (asked !== this.#asked) return;
    if (typeof answer === "string") this.#more.replaceChildren(h("p", { class: "faint", role: "status" }, `The kernel told no more: ${answer}.`));
    else if (!answer.found) this.#more.replaceChildren(h("p", { class: "faint", role: "status" }, answer.text === "" ? "The kernel no longer keeps this event; what is above is all." : visible(answer.text)));
    else this.#tell(answer);
  }

  /** The page's theme is another: the error's frame, which has colours of its own, is made anew. */
  themed(): void {
    const old = this.#more.querySelector("iframe");
    if (old === null) return;
    const made = frame(this.#html, this.root);
    if (made.srcdoc !== old.srcdoc) old.replaceWith(made);
  }

  #tell(answer: Details): void {
    this.#html = answer.html;
    const parts: HTMLElement[] = [];
    if (answer.html !== "") parts.push(h("h3", {}, "Error"), frame(answer.html, this.root));
    if (answer.text !== "") {
      const text = visibleLines(answer.text);
      const copy = h("button", { type: "button" }, "Copy text");
      copy.addEventListener("click", () => {
        // Without permission, or outside a secure context, there is no clipboard: the text can still be selected.
        Promise.resolve(navigator.clipboard?.writeText(text)).then(
          () => write(copy, navigator.clipboard === undefined ? "Select and copy it" : "Copied"),
          () => write(copy, "Select and copy it"),
        );
      });
      const shown = h("pre", { tabindex: 0, "aria-label": "Text" }, text);
      if (answer.html === "") parts.push(h("h3", {}, "Text"), shown, copy);
      else parts.push(h("details", {}, h("summary", {}, "As text"), shown, copy));
    }
    parts.push(h("h3", {}, "Event"), h("code", { class: "event" }, visible(answer.event)));
    const told = { ...answer.measurements, ...answer.metadata };
    const pairs = Object.entries(told).map(([key, value]): [string, string] => [visible(key, 80), written(value)]);
    const all = h("dl", { class: "facts raw" });
    list(all, pairs);
    parts.push(all);
    this.#more.replaceChildren(...parts);
  }
}

function written(value: unknown): string {
  return visible(typeof value === "string" ? value : (JSON.stringify(value) ?? "–"), 2000);
}

/** Fills a definition list, and touches only what changed. */
function list(target: HTMLElement, pairs: readonly [string, string][]): void {
  for (const [at, [term, text]] of pairs.entries()) {
    const dt = target.children[2 * at] ?? target.appendChild(h("dt"));
    const dd = target.children[2 * at + 1] ?? target.appendChild(h("dd"));
    write(dt, term);
    write(dd, text);
  }
  while (target.children.length > 2 * pairs.length) target.lastChild?.remove();
}

/** The error page in a frame without scripts, forms, links out or network, in the colours of the host. */
function frame(html: string, host: HTMLElement): HTMLIFrameElement {
  const style = getComputedStyle(host);
  const names = new Set(Array.from(html.matchAll(/var\((--[\w-]+)/g), (match) => match[1] as string));
  const clean = (value: string): string => value.replace(/[<>{};]/g, "").trim();
  const colours = [...names].map((name) => [name, clean(style.getPropertyValue(name))] as const).filter(([, value]) => value !== "");
  const dark = host.closest<HTMLElement>(".snakepit-nb")?.dataset["theme"] === "dark";
  const root = `:root{color-scheme:${dark ? "dark" : "light"};${colours.map(([name, value]) => `${name}:${value}`).join(";")}}`;
  const body = `body{margin:8px;font:13px/1.4 ${clean(style.fontFamily)};color:${clean(style.color)};background:${clean(style.backgroundColor) || "transparent"}}`;
  const page = `<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"><style>${root}${body}</style>${html}`;
  return h("iframe", { sandbox: "", srcdoc: page, title: "The error as it was shown under its cell", referrerpolicy: "no-referrer" });
}
