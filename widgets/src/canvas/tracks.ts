/**
 * Which of its lane's tracks a bar lies on: a worker of several threads runs several requests at once.
 *
 * A bar is given its track when it arrives and keeps it, so that nothing jumps while the picture moves. Rows arrive
 * in the order in which they ended, so only the last end on each track matters; the track that became free last is
 * taken, which leaves the longest room on the others.
 */
import type { Open } from "../protocol";
import { Kind } from "../protocol";
import type { Rows } from "../store";
import { BARS, MARKERS } from "../data/history";

const MOST = 64;
/** Two that overlap by this much, in seconds, and this share of the shorter, still follow each other. */
const SLACK = 2e-4;
const SHARE = 0.02;

export class Tracks {
  /** By number: those of bars and of markers lie between each other. */
  private readonly track = new Uint8Array(2 * Math.max(BARS, MARKERS) + 2);
  private readonly ends = new Map<number, number[]>();
  /** The numbers of the first bar and of the first marker that have no track yet. */
  private readonly next = [0, 1];
  private epoch = 0;

  /** Gives the rows that came since the last call their tracks. */
  update(rows: Rows): void {
    if (this.epoch !== rows.epoch) this.ends.clear();
    this.epoch = rows.epoch;
    this.follow(rows, 0, 0, rows.bars);
    this.follow(rows, 1, rows.bars, rows.length);
  }

  private follow(rows: Rows, part: 0 | 1, first: number, last: number): void {
    if (first === last) return;
    const oldest = rows.number(first);
    const next = Math.max(oldest, this.next[part]!);
    for (let i = first + (next - oldest) / 2; i < last; i++) {
      const kind = rows.kind(i);
      if (kind !== Kind.REQUEST && kind !== Kind.CELL) continue;
      this.track[rows.number(i) % this.track.length] = this.place(rows.lane(i), rows.t(i), rows.dur(i));
    }
    this.next[part] = rows.number(last - 1) + 2;
  }

  of(number: number): number {
    return this.track[number % this.track.length]!;
  }

  /** How many tracks the lane has; `open` are those that run in it now. */
  count(lane: number, open: number): number {
    return Math.max(1, open, this.ends.get(lane)?.length ?? 1);
  }

  /** For each request that runs now, its track: those that its lane's ended bars leave free. */
  ofOpen(open: readonly Open[]): Int32Array {
    const taken = new Map<number, Set<number>>();
    return Int32Array.from(open, ([, lane, , , t]) => {
      const used = taken.get(lane) ?? new Set();
      taken.set(lane, used);
      const ends = this.ends.get(lane) ?? [];
      let track = 0;
      while (used.has(track) || (ends[track] ?? -Infinity) > t + SLACK) track++;
      track = Math.min(track, MOST - 1);
      used.add(track);
      return track;
    });
  }

  private place(lane: number, t: number, dur: number): number {
    let ends = this.ends.get(lane);
    if (ends === undefined) this.ends.set(lane, (ends = []));
    const slack = SLACK + SHARE * dur;
    let best = -1;
    for (let k = 0; k < ends.length; k++) {
      if (ends[k]! <= t + slack && (best < 0 || ends[k]! > ends[best]!)) best = k;
    }
    if (best < 0) best = ends.length < MOST ? ends.length : 0;
    ends[best] = Math.max(ends[best] ?? -Infinity, t + dur);
    return best;
  }
}
