/**
 * All rows that the browser keeps: bars of requests in one ring, every other row, a marker, in another.
 *
 * Rule: requests come by the ten thousand; what else happened is not forgotten because of them, nor they for it.
 * `snakepit_nb/dashboard/history.py` keeps as many of each.
 * Rule: a row's number is even for a bar and odd for a marker, so that either ring forgets without the other's numbers
 * becoming others.
 */
import { Kind } from "../protocol";
import type { Fields, Rows } from "../store";
import type { RowColumns } from "./decoder";
import { RowRing } from "./ring";

export const BARS = 100_000;
export const MARKERS = 50_000;

export class History implements Rows {
  epoch = 0;
  private readonly ofBars: RowRing;
  private readonly ofMarkers: RowRing;
  /** For each marker, how many bars had come before it. */
  private readonly after: Float64Array;

  constructor(bars = BARS, markers = MARKERS) {
    this.ofBars = new RowRing(bars);
    this.ofMarkers = new RowRing(markers);
    this.after = new Float64Array(markers);
  }

  get bars(): number {
    return this.ofBars.length;
  }
  get length(): number {
    return this.ofBars.length + this.ofMarkers.length;
  }

  append(rows: RowColumns): void {
    const { bars, markers, behind } = split(rows);
    this.ofBars.append(bars);
    this.ofMarkers.append(markers);
    const { ofBars, ofMarkers, after } = this;
    const came = ofBars.first + ofBars.length;
    const last = ofMarkers.first + ofMarkers.length;
    for (let k = Math.max(0, behind.length - after.length); k < behind.length; k++) {
      after[(last - behind.length + k) % after.length] = came - behind[k]!;
    }
  }

  clear(): void {
    this.epoch++;
    this.ofBars.clear();
    this.ofMarkers.clear();
  }

  number(i: number): number {
    const marker = i - this.ofBars.length;
    return marker < 0 ? 2 * (this.ofBars.first + i) : 2 * (this.ofMarkers.first + marker) + 1;
  }

  index(number: number): number {
    const { ofBars, ofMarkers } = this;
    const [ring, before] = number % 2 === 0 ? [ofBars, 0] : [ofMarkers, ofBars.length];
    const at = Math.floor(number / 2) - ring.first;
    return at >= 0 && at < ring.length ? before + at : -1;
  }

  within(from: number, to: number, each: (first: number, last: number, part: Fields, before: number) => void): void {
    const { ofBars, ofMarkers } = this;
    const before = ofBars.length;
    ofBars.within(from, to, (first, last) => each(first, last, ofBars, 0));
    ofMarkers.within(from, to, (first, last) => each(before + first, before + last, ofMarkers, before));
  }

  newest(visit: (i: number) => void): void {
    const { ofBars, ofMarkers, after } = this;
    let bar = ofBars.length - 1;
    for (let marker = ofMarkers.length - 1; marker >= 0; marker--) {
      const came = after[(ofMarkers.first + marker) % after.length]! - ofBars.first;
      while (bar >= 0 && bar >= came) visit(bar--);
      visit(ofBars.length + marker);
    }
    while (bar >= 0) visit(bar--);
  }

  t(i: number): number {
    const marker = i - this.ofBars.length;
    return marker < 0 ? this.ofBars.t(i) : this.ofMarkers.t(marker);
  }
  dur(i: number): number {
    const marker = i - this.ofBars.length;
    return marker < 0 ? this.ofBars.dur(i) : this.ofMarkers.dur(marker);
  }
  extra(i: number): number {
    const marker = i - this.ofBars.length;
    return marker < 0 ? this.ofBars.extra(i) : this.ofMarkers.extra(marker);
  }
  id(i: number): number {
    const marker = i - this.ofBars.length;
    return marker < 0 ? this.ofBars.id(i) : this.ofMarkers.id(marker);
  }
  lane(i: number): number {
    const marker = i - this.ofBars.length;
    return marker < 0 ? this.ofBars.lane(i) : this.ofMarkers.lane(marker);
  }
  name(i: number): number {
    const marker = i - this.ofBars.length;
    return marker < 0 ? this.ofBars.name(i) : this.ofMarkers.name(marker);
  }
  life(i: number): number {
    const marker = i - this.ofBars.length;
    return marker < 0 ? this.ofBars.life(i) : this.ofMarkers.life(marker);
  }
  kind(i: number): number {
    const marker = i - this.ofBars.length;
    return marker < 0 ? Kind.REQUEST : this.ofMarkers.kind(marker);
  }
  outcome(i: number): number {
    const marker = i - this.ofBars.length;
    return marker < 0 ? this.ofBars.outcome(i) : this.ofMarkers.outcome(marker);
  }
}

/** Bars and markers apart, each in their order; `behind`: for each marker, how many bars of these come after it. */
function split(rows: RowColumns): { bars: RowColumns; markers: RowColumns; behind: Uint32Array } {
  const { length, kind } = rows;
  const [bars, markers] = [new Uint32Array(length), new Uint32Array(length)];
  const behind = new Uint32Array(length);
  let [b, m] = [0, 0];
  for (let i = 0; i < length; i++) {
    if (kind[i] === Kind.REQUEST) bars[b++] = i;
    else {
      behind[m] = b;
      markers[m++] = i;
    }
  }
  for (let k = 0; k < m; k++) behind[k] = b - behind[k]!;
  const which = (some: Uint32Array): RowColumns => (some.length === length ? rows : chosen(rows, some));
  return { bars: which(bars.subarray(0, b)), markers: which(markers.subarray(0, m)), behind: behind.subarray(0, m) };
}

/** Column by column in so many words: one loop for arrays of all types is ten times slower. */
function chosen(rows: RowColumns, which: Uint32Array): RowColumns {
  const { length } = which;
  const made = {
    length,
    t: new Float64Array(length),
    dur: new Float32Array(length),
    extra: new Float32Array(length),
    id: new Uint32Array(length),
    lane: new Uint16Array(length),
    name: new Uint16Array(length),
    life: new Uint16Array(length),
    kind: new Uint8Array(length),
    outcome: new Uint8Array(length),
  };
  for (let k = 0; k < length; k++) {
    const i = which[k]!;
    made.t[k] = rows.t[i]!;
    made.dur[k] = rows.dur[i]!;
    made.extra[k] = rows.extra[i]!;
    made.id[k] = rows.id[i]!;
    made.lane[k] = rows.lane[i]!;
    made.name[k] = rows.name[i]!;
    made.life[k] = rows.life[i]!;
    made.kind[k] = rows.kind[i]!;
    made.outcome[k] = rows.outcome[i]!;
  }
  return made;
}
