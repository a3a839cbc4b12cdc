/** What has the focus: it stays on its row while rows come and go, and on a request when that has ended. */
import { Kind } from "../protocol";
import type { Store } from "../store";
import type { Mark } from "./frame";
import type { Stop } from "./steps";

/** Seconds; a request's row begins when it itself began, but for a clock's jitter. */
const SAME = 1e-4;

export class Focus {
  private place: (Mark & { id: number; lane: number; t: number }) | null = null;

  constructor(private readonly store: Store) {}

  get mark(): Mark | null {
    return this.place;
  }

  set(stop: Stop | null): void {
    const { rows } = this.store;
    if (stop === null) this.place = null;
    else if (stop.open !== null) this.place = { open: true, number: stop.open[0], id: stop.open[0], lane: stop.lane, t: stop.t };
    else this.place = { open: false, number: rows.number(stop.row), id: rows.id(stop.row), lane: stop.lane, t: stop.t };
  }

  /** Where it is now: what ran may have ended, and a keyframe numbers the rows anew. null where it is gone. */
  now(): Stop | null {
    const { place } = this;
    if (place === null) return null;
    const { rows, open } = this.store;
    if (place.open) {
      const running = open.find((one) => one[0] === place.number);
      if (running !== undefined) return { row: -1, open: running, lane: running[1], t: running[4] };
    } else {
      const row = rows.index(place.number);
      if (row >= 0 && rows.id(row) === place.id) return { row, open: null, lane: place.lane, t: place.t };
    }
    const row = this.find(place);
    const stop = row < 0 ? null : { row, open: null, lane: rows.lane(row), t: rows.t(row) };
    this.set(stop);
    return stop;
  }

  private find(place: { open: boolean; id: number; lane: number; t: number }): number {
    const { rows } = this.store;
    let found = -1;
    rows.within(place.t - SAME, place.t + SAME, (first, last) => {
      for (let row = first; row < last; row++) {
        if (rows.lane(row) !== place.lane) continue;
        const ended = place.open && rows.kind(row) === Kind.REQUEST && Math.abs(rows.t(row) - place.t) < SAME;
        if (ended || (!place.open && rows.id(row) === place.id)) found = row;
      }
    });
    return found;
  }
}
