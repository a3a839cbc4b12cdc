/** What the shapes and colours mean; the shapes are painted by the same hand as those of the picture. */
import { readColours } from "../canvas/colours";
import { paintGlyph } from "../canvas/glyphs";
import { Kind } from "../protocol";
import { h } from "./dom";
import { KINDS } from "./row";

const BARS: readonly [string, string][] = [
  ["running", "running"],
  ["ok", "ok"],
  ["error", "error"],
  ["cancelled", "cancelled"],
  ["timeout", "timeout"],
  ["crashed", "lost to a crash"],
  ["wait", "waited in the queue"],
  ["cell", "cell"],
  ["user", "span of yours"],
  ["tainted", "slot tainted: takes no work"],
  ["saturated", "pool saturated"],
  ["density", "many requests: busy share, failures in red"],
];

const SPANS: ReadonlySet<number> = new Set([Kind.REQUEST, Kind.CELL, Kind.SATURATED]);

export function legend(host: Element): HTMLElement {
  const colours = readColours(host);
  const list = h("ul", { class: "legend", "aria-label": "Legend" });
  for (const [look, words] of BARS) list.append(h("li", {}, h("i", { class: `swatch ${look}`, "aria-hidden": "true" }), words));
  const ratio = globalThis.devicePixelRatio || 1;
  for (const [kind, words] of KINDS.entries()) {
    if (SPANS.has(kind)) continue;
    const canvas = h("canvas", { width: 16 * ratio, height: 16 * ratio, "aria-hidden": "true" });
    const ctx = canvas.getContext("2d");
    if (ctx !== null) {
      ctx.scale(ratio, ratio);
      paintGlyph(ctx, kind, 8, 8, 5, colours);
    }
    list.append(h("li", {}, canvas, words));
  }
  return list;
}
