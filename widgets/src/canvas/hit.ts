/** What lies under the pointer: the topmost of what the last frame drew; among sums, the request nearest in time. */
import { Kind } from "../protocol";
import type { Open } from "../protocol";
import type { Hit, Rows } from "../store";
import type { Boxes, Drawn } from "./drawn";
import type { Sieve } from "./filter";
import { boxAt } from "./layout";
import { timeOf } from "./scales";

/** How far from the pointer a thing may be, in pixels. */
const NEAR = 3;

export function hitTest(drawn: Drawn, rows: Rows, open: readonly Open[], sieve: Sieve, x: number, y: number): Hit | null {
  const { scale, layout } = drawn;
  if (scale === null || layout === null || x < scale.left || boxAt(layout, y) === null) return null;
  const row = (boxes: Boxes, slack: number): Hit | null => {
    const n = topmost(boxes, x, y, slack);
    // A saturation that still lasts has no row yet.
    if (n < 0 || boxes.what.data[n]! < 0) return null;
    return { row: boxes.what.data[n]!, open: null, count: boxes.count.data[n]!, x, y };
  };
  const running = (): Hit | null => {
    const n = topmost(drawn.open, x, y, 1);
    return n < 0 ? null : { row: -1, open: open[drawn.open.what.data[n]!] ?? null, count: 1, x, y };
  };
  return (
    row(drawn.glyphs, 1) ??
    row(drawn.spans, 0) ??
    running() ??
    row(drawn.bars, 0) ??
    row(drawn.bars, NEAR) ??
    row(drawn.spans, 1) ??
    (drawn.dense ? summed(drawn, rows, sieve, x, y) : null) ??
    row(drawn.areas, 0)
  );
}

function topmost(boxes: Boxes, x: number, y: number, slack: number): number {
  for (let n = boxes.length - 1; n >= 0; n--) if (boxes.holds(n, x, y, slack)) return n;
  return -1;
}

/** Of the requests in the columns, the one that ran then and there, or that is nearest. */
function summed(drawn: Drawn, rows: Rows, sieve: Sieve, x: number, y: number): Hit | null {
  const scale = drawn.scale!;
  const lane = boxAt(drawn.layout!, y)!.lane.lane;
  const t = timeOf(scale, x);
  const near = NEAR * scale.spp;
  let best = -1;
  let least = Infinity;
  rows.within(t - near, t + near, (first, last) => {
    for (let i = first; i < last; i++) {
      if (rows.lane(i) !== lane || rows.kind(i) !== Kind.REQUEST) continue;
      const begin = rows.t(i);
      const away = Math.max(0, begin - t, t - begin - rows.dur(i));
      if (away > near || away > least || !sieve.lets(rows, i)) continue;
      least = away;
      best = i;
    }
  });
  return best < 0 ? null : { row: best, open: null, count: 1, x, y };
}
