/**
 * What of the rows is drawn, and how: bars one by one while they are few, a sum for each lane and pixel column above.
 *
 * Rule: nothing is left out. A request that has no bar of its own is in the sum of its column; markers that would
 * lie one on the other, of one kind and in one lane, become one with a count.
 * Rule: columns and the cells of markers are fixed in time, not on the screen, so that a moving picture does not flicker.
 * Rule: nothing is allocated for a row; the arrays live from frame to frame.
 */
import { Kind, Outcome } from "../protocol";
import type { Density, Rows } from "../store";
import type { Sieve } from "./filter";
import type { Layout } from "./layout";
import { IntList, zeroed } from "./lists";
import type { Scale } from "./scales";
import type { Tracks } from "./tracks";

/** So many requests are drawn one by one. */
export const BUDGET = 3000;
/** Below this share of it, sums become bars again: a number that wavers must not make the picture flicker. */
const BACK = 0.8;
/** How wide the cell is, in pixels, in which markers of one kind become one. */
export const CELL = 12;
/** The kinds, and one for those that a newer kernel may send. */
export const KINDS = 28;
export const UNKNOWN = 27;
/** The outcomes; those that run count as NONE. */
export const CLASSES = 6;

/** Markers, as columns: `row` is the newest, `first` the oldest of the `count` that it stands for. */
export class Marks {
  length = 0;
  readonly box = new IntList();
  readonly kind = new IntList();
  readonly row = new IntList();
  readonly first = new IntList();
  readonly count = new IntList();
  readonly key = new IntList();
  /** Of the rows' `extra`: bytes, mostly. */
  sum = new Float64Array(256);

  clear(): void {
    this.length = 0;
    for (const list of [this.box, this.kind, this.row, this.first, this.count, this.key]) list.clear();
  }

  open(key: number, box: number, kind: number, row: number, extra: number): number {
    this.key.push(key);
    if (this.length === this.sum.length) {
      const more = new Float64Array(this.sum.length * 2);
      more.set(this.sum);
      this.sum = more;
    }
    this.box.push(box);
    this.kind.push(kind);
    this.row.push(row);
    this.first.push(row);
    this.count.push(1);
    this.sum[this.length] = extra;
    return this.length++;
  }

  add(mark: number, row: number, extra: number): void {
    this.row.data[mark] = row;
    this.count.data[mark]!++;
    this.sum[mark]! += extra;
  }
}

/** What runs or ran in each pixel column of each lane. */
export class Columns {
  boxes = 0;
  length = 0;
  /** Where the first column begins. */
  from = 0;
  /** How much of the column requests of this class ran, at `place(box, class) + column`; above 1 where several did. */
  share = new Float32Array(0);
  /** How many ended in it (or are seen last in it). */
  count = new Uint32Array(0);
  private step = new Float32Array(0);
  private spp = 1;

  reset(boxes: number, scale: Scale): void {
    this.boxes = boxes;
    this.length = Math.ceil(scale.width) + 1;
    this.spp = scale.spp;
    this.from = Math.floor(scale.from / scale.spp + 1e-3) * scale.spp;
    const size = boxes * CLASSES * this.length;
    this.share = zeroed(this.share, size, (n) => new Float32Array(n));
    this.count = zeroed(this.count, size, (n) => new Uint32Array(n));
    this.step = zeroed(this.step, size, (n) => new Float32Array(n));
  }

  place(box: number, kind: number): number {
    return (box * CLASSES + kind) * this.length;
  }

  /** Something that took from `begin` to `end`; the middle of a long one is told by where it starts and stops. */
  add(box: number, kind: number, begin: number, end: number, weight: number, count: number): void {
    const last = this.length - 1;
    const x0 = Math.min(this.length, Math.max(0, (begin - this.from) / this.spp));
    const x1 = Math.min(this.length, Math.max(0, (end - this.from) / this.spp));
    const c0 = Math.min(last, Math.floor(x0));
    const c1 = Math.min(last, Math.floor(x1));
    const at = this.place(box, kind);
    if (c0 === c1) this.share[at + c0]! += (x1 - x0) * weight;
    else {
      this.share[at + c0]! += (c0 + 1 - x0) * weight;
      this.share[at + c1]! += (x1 - c1) * weight;
      this.step[at + c0 + 1]! += weight;
      this.step[at + c1]! -= weight;
    }
    this.count[at + c1]! += count;
  }

  finish(): void {
    const n = this.length;
    for (let at = 0; at < this.boxes * CLASSES * n; at += n) {
      let running = 0;
      for (let c = at; c < at + n; c++) {
        running += this.step[c]!;
        this.share[c]! += running;
      }
    }
  }
}

export class Scene {
  /** Requests are in the columns, not in `bars`. */
  dense = false;
  /** Whether anything at all is in the columns. */
  summed = false;
  /** How many requests there are in the span, those that the kernel summed included. */
  requests = 0;
  /** Rows. */
  readonly bars = new IntList();
  readonly spans = new IntList();
  readonly areas = new IntList();
  readonly marks = new Marks();
  readonly columns = new Columns();
  private cells = new Int32Array(0);
  private cellCount = 0;
  private cellFrom = 0;

  /** `until`: nothing later is shown, and what ended later runs still. */
  build(rows: Rows, density: Density, layout: Layout, scale: Scale, sieve: Sieve, tracks: Tracks, until = Infinity): void {
    const budget = this.dense ? BUDGET * BACK : BUDGET;
    const boxes = layout.boxes.length;
    this.bars.clear();
    this.spans.clear();
    this.areas.clear();
    this.marks.clear();
    this.cellFrom = Math.floor(scale.from / (CELL * scale.spp));
    this.cellCount = Math.ceil(scale.width / CELL) + 2;
    this.cells = zeroed(this.cells, boxes * KINDS * this.cellCount, (n) => new Int32Array(n));
    this.requests = 0;
    rows.within(scale.from, scale.to, (first, last) => this.sort(rows, first, last, layout, scale, sieve, until, budget));
    this.dense = this.requests > budget;
    this.summed = this.dense || density.length > 0;
    if (!this.summed) return;
    this.columns.reset(boxes, scale);
    if (this.dense) {
      this.bars.clear();
      rows.within(scale.from, scale.to, (first, last) => this.sum(rows, first, last, layout, scale, sieve, until));
    }
    density.within(scale.from, scale.to, (first, last) => this.join(density, first, last, layout, scale, sieve, tracks, until));
    this.columns.finish();
  }

  /** Whether the cell after the marker's has one of its kind too, so that there is no room for its count. */
  crowded(mark: number): boolean {
    const key = this.marks.key.data[mark]! + 1;
    return key % this.cellCount !== 0 && this.cells[key] !== 0;
  }

  private sort(
    ...[rows, first, last, layout, scale, sieve, until, budget]: [Rows, number, number, Layout, Scale, Sieve, number, number]
  ): void {
    const { boxOf } = layout;
    const from = scale.from;
    const to = Math.min(scale.to, until);
    const cell = CELL * scale.spp;
    const all = sieve.all;
    for (let i = first; i < last; i++) {
      const t = rows.t(i);
      if (t > to) continue;
      const dur = rows.dur(i);
      if (t + dur < from) continue;
      const box = boxOf[rows.lane(i)] ?? -1;
      if (box < 0 || !(all || sieve.lets(rows, i))) continue;
      const kind = rows.kind(i);
      if (kind === Kind.REQUEST) {
        if (this.requests++ <= budget) this.bars.push(i);
        continue;
      }
      if (kind === Kind.SATURATED) {
        this.areas.push(i);
        continue;
      }
      if (kind === Kind.TAINTED) this.areas.push(i);
      else if (dur > 0 && (kind === Kind.CELL || kind === Kind.USER) && this.spans.length < BUDGET) {
        this.spans.push(i);
        continue;
      }
      // A span's own marker stands where it began; one that began earlier stands at the edge.
      const place = Math.floor(Math.max(t, from) / cell) - this.cellFrom;
      const known = kind < UNKNOWN ? kind : UNKNOWN;
      const key = (box * KINDS + known) * this.cellCount + Math.min(this.cellCount - 1, Math.max(0, place));
      const there = this.cells[key]!;
      if (there === 0) this.cells[key] = this.marks.open(key, box, known, i, rows.extra(i)) + 1;
      else this.marks.add(there - 1, i, rows.extra(i));
    }
  }

  private sum(...[rows, first, last, layout, scale, sieve, until]: [Rows, number, number, Layout, Scale, Sieve, number]): void {
    const { boxOf } = layout;
    const to = Math.min(scale.to, until);
    for (let i = first; i < last; i++) {
      if (rows.kind(i) !== Kind.REQUEST) continue;
      const t = rows.t(i);
      const end = t + rows.dur(i);
      if (t > to || end < scale.from) continue;
      const box = boxOf[rows.lane(i)] ?? -1;
      if (box < 0 || !(sieve.all || sieve.lets(rows, i))) continue;
      const outcome = end > until ? Outcome.NONE : rows.outcome(i);
      this.columns.add(box, outcome < CLASSES ? outcome : Outcome.NONE, t, Math.min(end, until), 1, 1);
    }
  }

  /** What the kernel has summed has neither names nor kinds of failure: a filter for these leaves it out. */
  private join(
    ...[density, first, last, layout, scale, sieve, tracks, until]: [Density, number, number, Layout, Scale, Sieve, Tracks, number]
  ): void {
    for (let i = first; i < last; i++) {
      const t = density.t(i);
      const end = t + density.width(i);
      if (t > Math.min(scale.to, until) || end < scale.from) continue;
      const lane = density.lane(i);
      const box = layout.boxOf[lane] ?? -1;
      if (box < 0) continue;
      const count = density.count(i);
      const failed = Math.min(count, density.failed(i));
      const busy = density.busy(i) * tracks.count(lane, 0);
      const bad = count > 0 ? failed / count : 0;
      if (sieve.letsSum(lane, Outcome.OK)) {
        this.requests += count - failed;
        this.columns.add(box, Outcome.OK, t, end, busy * (1 - bad), count - failed);
      }
      if (failed > 0 && sieve.letsSum(lane, Outcome.ERROR)) {
        this.requests += failed;
        this.columns.add(box, Outcome.ERROR, t, end, busy * bad, failed);
      }
    }
  }
}
