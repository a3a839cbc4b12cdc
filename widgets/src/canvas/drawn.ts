/** Where the last frame put things: what the pointer hits is what was drawn, not a second reckoning of it. */
import type { Layout } from "./layout";
import { FloatList, IntList } from "./lists";
import type { Scale } from "./scales";

export class Boxes {
  length = 0;
  readonly x0 = new FloatList();
  readonly y0 = new FloatList();
  readonly x1 = new FloatList();
  readonly y1 = new FloatList();
  /** What it is: a row, or a place in the list of those that run. */
  readonly what = new IntList();
  /** A bar's outcome, a marker's kind. */
  readonly look = new IntList();
  /** For how many it stands. */
  readonly count = new IntList();

  clear(): void {
    this.length = 0;
    for (const list of [this.x0, this.y0, this.x1, this.y1]) list.clear();
    for (const list of [this.what, this.look, this.count]) list.clear();
  }

  push(x0: number, y0: number, x1: number, y1: number, what: number, look: number, count = 1): void {
    this.x0.push(x0);
    this.y0.push(y0);
    this.x1.push(x1);
    this.y1.push(y1);
    this.what.push(what);
    this.look.push(look);
    this.count.push(count);
    this.length++;
  }

  holds(i: number, x: number, y: number, slack = 0): boolean {
    const { x0, x1, y0, y1 } = this;
    return x >= x0.data[i]! - slack && x <= x1.data[i]! + slack && y >= y0.data[i]! && y <= y1.data[i]!;
  }
}

export interface Drawn {
  /** In the order of drawing: the last lies on top. */
  readonly bars: Boxes;
  readonly spans: Boxes;
  readonly areas: Boxes;
  readonly open: Boxes;
  readonly glyphs: Boxes;
  scale: Scale | null;
  layout: Layout | null;
  /** Requests have no bars of their own in this frame. */
  dense: boolean;
}

export function nothingDrawn(): Drawn {
  return {
    ...{ bars: new Boxes(), spans: new Boxes(), areas: new Boxes(), open: new Boxes(), glyphs: new Boxes() },
    ...{ scale: null, layout: null, dense: false },
  };
}
