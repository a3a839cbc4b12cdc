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
/** How wide the cell is, in pixels, in which markers of one kind become one; doubled while there are more than `MARKS`. */
export const CELL = 12;
const WIDEST = 8 * CELL;
export const MARKS = 1500;
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
  /** Of the rows' `extra`: bytes, mostly. */
  sum = new Float64Array(256);

  clear(): void {
    this.length = 0;
    for (const list of [this.box, this.kind, this.row, this.first, this.count]) list.clear();
  }

  open(box: number, kind: number, row: number, extra: number): number {
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
  /** Which outcomes there are at all, by lane: what there is none of need not be looked through. */
  used = new Uint8Array(0);
  private step = new Float32Array(0);
  private perSecond = 1;

  reset(boxes: number, scale: Scale): void {
    this.boxes = boxes;
    this.length = Math.ceil(scale.width) + 1;
    this.perSecond = 1 / scale.spp;
    this.from = Math.floor(scale.from / scale.spp + 1e-3) * scale.spp;
    const size = boxes * CLASSES * this.length;
    this.share = zeroed(this.share, size, (n) => new Float32Array(n));
    this.count = zeroed(this.count, size, (n) => new Uint32Array(n));
    this.step = zeroed(this.step, size, (n) => new Float32Array(n));
    this.used = zeroed(this.used, boxes * CLASSES, (n) => new Uint8Array(n));
  }

  place(box: number, kind: number): number {
    return (box * CLASSES + kind) * this.length;
  }

  /** Something that took from `begin` to `end`; the middle of a long one is told by where it starts and stops. */
  add(box: number, kind: number, begin: number, end: number, weight: number, count: number): void {
    const last = this.length - 1;
    const x0 = Math.min(this.length, Math.max(0, (begin - this.from) * this.perSecond));
    const x1 = Math.min(this.length, Math.max(0, (end - this.from) * this.perSecond));
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
    this.used[box * CLASSES + kind] = 1;
  }

  finish(): void {
    const n = this.length;
    for (let k = 0; k < this.boxes * CLASSES; k++) {
      if (this.used[k] === 0) continue;
      const at = k * n;
      let running = 0;
      for (let c = at; c < at + n; c++) {
        running += this.step[c]!;
        this.share[c]! += running;
      }
    }
  }
}

/** A run of rows, and what decides about each of them. */
interface Run {
  first: number;
  last: number;
  layout: Layout;
  scale: Scale;
  sieve: Sieve;
  until: number;
}

export class Scene {
  /** Requests are in the columns, not in `bars`. */
  dense = false;
  /** Whether anything at all is in the columns. */
  summed = false;
  /** How many requests there are in the span, those that the kernel summed included. */
  requests = 0;
  /** How wide markers' cells are now, in pixels. */
  cell = CELL;
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
    // What was right for the last frame is likely right for this one; where it is not, once more.
    for (let more = true, tries = 0; more && tries < 6; tries++) {
      this.begin(layout.boxes.length, scale, density.length > 0);
      rows.within(scale.from, scale.to, (first, last) => this.add({ rows, first, last, layout, scale, sieve, until }));
      more = this.adapt();
    }
    if (!this.summed) return;
    density.within(scale.from, scale.to, (first, last) => this.join(density, { first, last, layout, scale, sieve, until }, tracks));
    this.columns.finish();
  }

  private begin(boxes: number, scale: Scale, summed: boolean): void {
    for (const list of [this.bars, this.spans, this.areas, this.marks]) list.clear();
    this.requests = 0;
    this.cellFrom = Math.floor(scale.from / (this.cell * scale.spp));
    this.cellCount = Math.ceil(scale.width / this.cell) + 2;
    this.cells = zeroed(this.cells, boxes * KINDS * this.cellCount, (n) => new Int32Array(n));
    this.summed = this.dense || summed;
    if (this.summed) this.columns.reset(boxes, scale);
  }

  /** Whether it must be built once more. */
  private adapt(): boolean {
    const { dense, cell } = this;
    if (!dense && this.requests > BUDGET) this.dense = true;
    else if (dense && this.requests < BUDGET * BACK) this.dense = false;
    if (this.marks.length > MARKS && cell < WIDEST) this.cell = cell * 2;
    // Half as wide they are at most twice as many.
    else if (this.marks.length < MARKS * 0.4 && cell > CELL) this.cell = cell / 2;
    return this.dense !== dense || this.cell !== cell;
  }

  private add({ rows, first, last, layout, scale, sieve, until }: Run & { rows: Rows }): void {
    const { boxOf } = layout;
    const { columns, dense } = this;
    const from = scale.from;
    const to = Math.min(scale.to, until);
    const perCell = 1 / (this.cell * scale.spp);
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
        this.requests++;
        if (dense) {
          const ended = t + dur <= until;
          const outcome = ended ? rows.outcome(i) : Outcome.NONE;
          columns.add(box, outcome < CLASSES ? outcome : Outcome.NONE, t, ended ? t + dur : until, 1, 1);
        } else if (this.requests <= BUDGET) this.bars.push(i);
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
      const place = Math.floor(Math.max(t, from) * perCell) - this.cellFrom;
      const known = kind < UNKNOWN ? kind : UNKNOWN;
      const key = (box * KINDS + known) * this.cellCount + Math.min(this.cellCount - 1, Math.max(0, place));
      const there = this.cells[key]!;
      if (there === 0) this.cells[key] = this.marks.open(box, known, i, rows.extra(i)) + 1;
      else this.marks.add(there - 1, i, rows.extra(i));
    }
  }

  /** What the kernel has summed has neither names nor kinds of failure: a filter for these leaves it out. */
  private join(density: Density, { first, last, layout, scale, sieve, until }: Run, tracks: Tracks): void {
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
