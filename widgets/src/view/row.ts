/**
 * One row, copied out of the columns, and how people call it.
 *
 * Rule: rows move as the oldest are forgotten, so a view keeps a copy and never an index.
 */
import { visible } from "../data/visible";
import { Kind, Outcome } from "../protocol";
import type { Open } from "../protocol";
import type { Hit, Store } from "../store";
import { bytes, count, duration, percent } from "./format";

export interface Row {
  id: number;
  t: number;
  dur: number;
  extra: number;
  lane: number;
  name: string;
  life: number;
  kind: number;
  outcome: number;
  /** The request's number while it runs; null once it ended, and for all other rows. */
  request: number | null;
}

/** Word and sign of each kind, by its number. */
export const KINDS: readonly string[] = [
  "request",
  "worker started",
  "worker recycled",
  "crash",
  "tainted",
  "worker restarted",
  "health check failed",
  "shared without a copy",
  "copied instead of shared",
  "lease leaked",
  "exception",
  "saturated",
  "rejected",
  "pool started",
  "pool resized",
  "pool stopped",
  "retry",
  "retries exhausted",
  "circuit breaker",
  "session opened",
  "session lost",
  "cell",
  "name copied",
  "progress",
  "events dropped",
  "event of yours",
  "alert",
];

export const OUTCOMES: readonly string[] = ["", "ok", "error", "cancelled", "timeout", "crashed"];

const BYTES: ReadonlySet<number> = new Set([Kind.EXPORT, Kind.FALLBACK, Kind.LEAKED, Kind.COPIED]);

/** The row at an index. */
export function rowAt(store: Store, i: number): Row {
  const rows = store.rows;
  return {
    id: rows.id(i),
    t: rows.t(i),
    dur: rows.dur(i),
    extra: rows.extra(i),
    lane: rows.lane(i),
    name: store.text(rows.name(i)),
    life: rows.life(i),
    kind: rows.kind(i),
    outcome: rows.outcome(i),
    request: null,
  };
}

/** A request that runs, as a row that lasts until now. */
export function rowOf(store: Store, open: Open): Row {
  const [id, lane, name, life, t, wait, request] = open;
  const dur = Math.max(0, store.now() - t);
  const text = store.text(name);
  return { id, t, dur, extra: wait, lane, name: text, life, kind: Kind.REQUEST, outcome: Outcome.NONE, request };
}

export function rowHit(store: Store, hit: Hit): Row | null {
  if (hit.open !== null) return rowOf(store, hit.open);
  return hit.row >= 0 && hit.row < store.rows.length ? rowAt(store, hit.row) : null;
}

/** "ok", "running"; "" where there is no such thing. */
export function outcomeOf(row: Row): string {
  return row.request === null ? (OUTCOMES[row.outcome] ?? "") : "running";
}

export function kindOf(row: Row): string {
  return KINDS[row.kind] ?? `event of kind ${row.kind}`;
}

export function laneOf(store: Store, lane: number): string {
  return visible(store.lanes[lane]?.label ?? `lane ${lane}`);
}

/** What `extra` says, with its unit; "" where it says nothing. */
export function extraOf(row: Row): string {
  const value = row.extra;
  if (BYTES.has(row.kind)) return bytes(value);
  switch (row.kind) {
    case Kind.REQUEST:
      return value > 0 ? `waited ${duration(value)}` : "";
    case Kind.STARTED:
      return value > 0 ? `in ${duration(value)}` : "";
    case Kind.RECYCLED:
      return value > 0 ? `after ${duration(value)}` : "";
    case Kind.POOL_RESIZED:
      return `to ${count(value)} workers`;
    case Kind.RETRY:
      return `attempt ${count(value)}`;
    case Kind.PROGRESS:
      return value <= 1 ? percent(value) : count(value);
    case Kind.ALERT:
      return `at ${Number(value.toPrecision(3))}`;
    case Kind.DROPPED:
      return `${count(value)} events`;
    default:
      return "";
  }
}

/** A row in one line: "request fit, error, 1.2 s, waited 3 ms, worker default-1". */
export function sentence(store: Store, row: Row): string {
  const named = row.name !== "" && row.name !== "…" ? ` ${row.name}` : "";
  const parts = [`${kindOf(row)}${named}`, outcomeOf(row), row.dur > 0 ? duration(row.dur) : "", extraOf(row)];
  parts.push(row.lane === 0 ? "" : laneOf(store, row.lane));
  return parts.filter((part) => part !== "").join(", ");
}
