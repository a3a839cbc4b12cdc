/** From one event to the next by keyboard: along a lane in the order of time, and across to the lane's neighbours. */
import { Kind, Outcome } from "../protocol";
import type { Open } from "../protocol";
import type { Rows } from "../store";
import type { Sieve } from "./filter";

export type Step = "next" | "previous" | "lane-up" | "lane-down" | "first" | "last";

/** A row, or one that runs (`row` is -1). */
export interface Stop {
  row: number;
  open: Open | null;
  lane: number;
  t: number;
}

export interface Field {
  rows: Rows;
  open: readonly Open[];
  sieve: Sieve;
  /** The lanes in the order in which they lie. */
  lanes: readonly number[];
}

export function step(field: Field, from: Stop | null, where: Step, now: number): Stop | null {
  if (from === null) return newest(field, now);
  if (where === "lane-up" || where === "lane-down") return across(field, from, where === "lane-up" ? -1 : 1) ?? from;
  let best: Stop | null = null;
  const better = (stop: Stop): boolean => {
    if (where === "first") return best === null || before(stop, best);
    if (where === "last") return best === null || before(best, stop);
    if (where === "next") return before(from, stop) && (best === null || before(stop, best));
    return before(stop, from) && (best === null || before(best, stop));
  };
  each(field, from.lane, (stop) => {
    if (better(stop)) best = stop;
  });
  return best ?? from;
}

/** Of those in view, the one that began last. */
function newest(field: Field, now: number): Stop | null {
  let best: Stop | null = null;
  for (const lane of field.lanes) {
    each(field, lane, (stop) => {
      if (stop.t <= now && (best === null || best.t > now || stop.t > best.t)) best = stop;
      else if (best === null) best = stop;
    });
  }
  return best;
}

function across(field: Field, from: Stop, way: number): Stop | null {
  const { lanes } = field;
  for (let k = lanes.indexOf(from.lane) + way; k >= 0 && k < lanes.length; k += way) {
    let best: Stop | null = null;
    each(field, lanes[k]!, (stop) => {
      if (best === null || Math.abs(stop.t - from.t) < Math.abs(best.t - from.t)) best = stop;
    });
    if (best !== null) return best;
  }
  return null;
}

function each(field: Field, lane: number, visit: (stop: Stop) => void): void {
  const { rows, open, sieve } = field;
  for (let row = 0; row < rows.length; row++) {
    if (rows.lane(row) === lane && sieve.lets(rows, row)) visit({ row, open: null, lane, t: rows.t(row) });
  }
  for (const one of open) {
    if (one[1] === lane && sieve.letsValues(lane, Kind.REQUEST, Outcome.NONE, one[2])) visit({ row: -1, open: one, lane, t: one[4] });
  }
}

/** By time; of one time, in the order of arrival, what still runs last. */
function before(a: Stop, b: Stop): boolean {
  if (a.t !== b.t) return a.t < b.t;
  if (a.row < 0 && b.row < 0) return a.open![0] < b.open![0];
  if (a.row < 0 || b.row < 0) return b.row < 0;
  return a.row < b.row;
}
