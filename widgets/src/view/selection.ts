/** The figures of the selected span. */
import { visible } from "../data/visible";
import type { Span, Store } from "../store";
import { h, write } from "./dom";
import { bytes, count, duration, percent, three } from "./format";
import { statisticsOf } from "./statistics";
import type { Statistics } from "./statistics";

/** Label and value of each figure. */
export function told(found: Statistics): [string, string][] {
  const three_ = (of: [number, number, number]): string => of.map(duration).join(" / ");
  return [
    ["selected", duration(found.seconds)],
    ["requests", count(found.count)],
    ["ok", count(found.ok)],
    ["failed", count(found.failed)],
    ["per second", three(found.throughput)],
    ["duration p50 / p95 / p99", three_(found.duration)],
    ["wait p50 / p95 / p99", three_(found.wait)],
    ["shared", bytes(found.shared)],
    ["copied", bytes(found.copied)],
  ];
}

export class Selection {
  readonly root: HTMLElement;
  readonly #figures = h("dl", { class: "figures" });
  readonly #busy = h("ul", { class: "busy", "aria-label": "Busy share of each worker" });

  constructor(
    private readonly store: Store,
    clear: () => void,
    zoom: () => void,
  ) {
    this.root = h(
      "div",
      { class: "selection", role: "group", "aria-label": "The selected span" },
      this.#figures,
      this.#busy,
      h("div", { class: "set" }, h("button", { type: "button", click: zoom }, "Zoom to it"), h("button", { type: "button", title: "Clear the selection (Esc)", click: clear }, "Clear")),
    );
    this.root.hidden = true;
  }

  draw(span: Span | null): void {
    this.root.hidden = span === null;
    if (span === null) return;
    const found = statisticsOf(this.store, span);
    for (const [at, [label, value]] of told(found).entries()) {
      const pair = this.#figures.children[at] ?? this.#figures.appendChild(h("div", {}, h("dt"), h("dd")));
      write(pair.children[0] as Element, label);
      write(pair.children[1] as Element, value);
    }
    for (const [at, { label, share }] of found.busy.entries()) {
      const item = this.#busy.children[at] ?? this.#busy.appendChild(h("li", {}, h("span"), h("meter", { min: 0, max: 1 }), h("span")));
      const [name, meter, figure] = item.children as unknown as [HTMLElement, HTMLMeterElement, HTMLElement];
      write(name, visible(label, 40));
      meter.value = share;
      meter.setAttribute("aria-label", `${visible(label, 40)} busy`);
      write(figure, percent(share));
    }
    while (this.#busy.children.length > found.busy.length) this.#busy.lastChild?.remove();
  }
}
