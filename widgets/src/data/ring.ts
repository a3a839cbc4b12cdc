/**
 * The newest rows, as columns: typed arrays of a fixed size, the oldest overwritten; appending a batch is one copy a column.
 *
 * Rows arrive in the order in which they *ended*, and some not even so (the span of a taint ends in the future,
 * a worker's own events come a little late), so neither begin nor end is sorted and no binary search is right.
 * Instead each block of 256 rows keeps its earliest begin and its latest end: the rows of a span of time are found
 * by asking some four hundred blocks, and only the blocks that reach into the span are looked through.
 *
 * Rule: the arrays are one block longer than the capacity, so a block is never half old and half new and its
 * bounds are exact.
 */
import type { Density, Fields } from "../store";
import type { DensityColumns, RowColumns } from "./decoder";

export const CAPACITY = 100_000;
const BLOCK = 256;

/** What both rings have: where the rows lie, and the bounds of the blocks. */
abstract class Ring {
  length = 0;
  /** How many rows went before index 0: the number of a row for as long as it is kept. */
  first = 0;
  protected readonly size: number;
  /** Where index 0 lies. */
  protected head = 0;
  private readonly begins: Float64Array;
  private readonly ends: Float64Array;

  constructor(readonly capacity: number) {
    const blocks = Math.ceil(capacity / BLOCK) + 1;
    this.size = blocks * BLOCK;
    this.begins = new Float64Array(blocks).fill(Infinity);
    this.ends = new Float64Array(blocks).fill(-Infinity);
  }

  protected at(i: number): number {
    const place = this.head + i;
    return place < this.size ? place : place - this.size;
  }

  /** Calls `each(first, last)` for runs of rows, `last` excluded; every row that touches the span is in one of them. */
  within(from: number, to: number, each: (first: number, last: number) => void): void {
    let begin = -1;
    for (let i = 0; i < this.length; ) {
      const place = this.at(i);
      const next = Math.min(this.length, i + BLOCK - (place % BLOCK));
      const block = Math.floor(place / BLOCK);
      const touches = this.begins[block]! <= to && this.ends[block]! >= from;
      if (touches && begin < 0) begin = i;
      if (!touches && begin >= 0) {
        each(begin, i);
        begin = -1;
      }
      i = next;
    }
    if (begin >= 0) each(begin, this.length);
  }

  /** Forgets all. A number is left out, so that whoever follows the numbers notices. */
  clear(): void {
    this.first += this.length + 1;
    this.head = this.at(this.length);
    this.length = 0;
    // A block that is begun must be empty, and so must the rest of the one in which the last row lies.
    this.head = (Math.ceil(this.head / BLOCK) * BLOCK) % this.size;
  }

  /** Makes room for the newest rows of a batch, then calls `copy(source, place, count)` for each piece. */
  protected push(
    count: number,
    t: Float64Array,
    dur: Float32Array,
    copy: (source: number, place: number, count: number) => void,
  ): void {
    const skipped = Math.max(0, count - this.capacity);
    if (skipped > 0) {
      this.clear();
      this.first += skipped;
    }
    for (let source = skipped; source < count; ) {
      const place = this.at(this.length);
      const block = Math.floor(place / BLOCK);
      const piece = Math.min(count - source, BLOCK - (place % BLOCK), this.capacity);
      if (place % BLOCK === 0) {
        this.begins[block] = Infinity;
        this.ends[block] = -Infinity;
      }
      let earliest = this.begins[block]!;
      let latest = this.ends[block]!;
      for (let i = source; i < source + piece; i++) {
        const begin = t[i]!;
        if (begin < earliest) earliest = begin;
        if (begin + dur[i]! > latest) latest = begin + dur[i]!;
      }
      this.begins[block] = earliest;
      this.ends[block] = latest;
      copy(source, place, piece);
      source += piece;
      this.length += piece;
      const over = this.length - this.capacity;
      if (over > 0) {
        this.head = this.at(over);
        this.length -= over;
        this.first += over;
      }
    }
  }
}

export class RowRing extends Ring implements Fields {
  private readonly columns = {
    t: new Float64Array(this.size),
    dur: new Float32Array(this.size),
    extra: new Float32Array(this.size),
    id: new Uint32Array(this.size),
    lane: new Uint16Array(this.size),
    name: new Uint16Array(this.size),
    life: new Uint16Array(this.size),
    kind: new Uint8Array(this.size),
    outcome: new Uint8Array(this.size),
  };

  constructor(capacity = CAPACITY) {
    super(capacity);
  }

  append(rows: RowColumns): void {
    const mine = this.columns;
    this.push(rows.length, rows.t, rows.dur, (source, place, count) => {
      const end = source + count;
      mine.t.set(rows.t.subarray(source, end), place);
      mine.dur.set(rows.dur.subarray(source, end), place);
      mine.extra.set(rows.extra.subarray(source, end), place);
      mine.id.set(rows.id.subarray(source, end), place);
      mine.lane.set(rows.lane.subarray(source, end), place);
      mine.name.set(rows.name.subarray(source, end), place);
      mine.life.set(rows.life.subarray(source, end), place);
      mine.kind.set(rows.kind.subarray(source, end), place);
      mine.outcome.set(rows.outcome.subarray(source, end), place);
    });
  }

  t(i: number): number {
    return this.columns.t[this.at(i)]!;
  }
  dur(i: number): number {
    return this.columns.dur[this.at(i)]!;
  }
  extra(i: number): number {
    return this.columns.extra[this.at(i)]!;
  }
  id(i: number): number {
    return this.columns.id[this.at(i)]!;
  }
  lane(i: number): number {
    return this.columns.lane[this.at(i)]!;
  }
  name(i: number): number {
    return this.columns.name[this.at(i)]!;
  }
  life(i: number): number {
    return this.columns.life[this.at(i)]!;
  }
  kind(i: number): number {
    return this.columns.kind[this.at(i)]!;
  }
  outcome(i: number): number {
    return this.columns.outcome[this.at(i)]!;
  }
}

export class DensityRing extends Ring implements Density {
  private readonly columns = {
    t: new Float64Array(this.size),
    width: new Float32Array(this.size),
    busy: new Float32Array(this.size),
    count: new Uint32Array(this.size),
    failed: new Uint32Array(this.size),
    lane: new Uint16Array(this.size),
  };

  constructor(capacity = CAPACITY) {
    super(capacity);
  }

  append(rows: DensityColumns): void {
    const mine = this.columns;
    this.push(rows.length, rows.t, rows.width, (source, place, count) => {
      const end = source + count;
      mine.t.set(rows.t.subarray(source, end), place);
      mine.width.set(rows.width.subarray(source, end), place);
      mine.busy.set(rows.busy.subarray(source, end), place);
      mine.count.set(rows.count.subarray(source, end), place);
      mine.failed.set(rows.failed.subarray(source, end), place);
      mine.lane.set(rows.lane.subarray(source, end), place);
    });
  }

  t(i: number): number {
    return this.columns.t[this.at(i)]!;
  }
  width(i: number): number {
    return this.columns.width[this.at(i)]!;
  }
  busy(i: number): number {
    return this.columns.busy[this.at(i)]!;
  }
  count(i: number): number {
    return this.columns.count[this.at(i)]!;
  }
  failed(i: number): number {
    return this.columns.failed[this.at(i)]!;
  }
  lane(i: number): number {
    return this.columns.lane[this.at(i)]!;
  }
}
