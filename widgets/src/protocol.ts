/**
 * What kernel and browser say to each other; `snakepit_nb/dashboard/protocol.py` says the same in Python and
 * tells what each value means.
 */

export const Kind = {
  REQUEST: 0,
  STARTED: 1,
  RECYCLED: 2,
  CRASH: 3,
  TAINTED: 4,
  RESTARTED: 5,
  HEALTH_CHECK_FAILED: 6,
  EXPORT: 7,
  FALLBACK: 8,
  LEAKED: 9,
  EXCEPTION: 10,
  SATURATED: 11,
  REJECTED: 12,
  POOL_STARTED: 13,
  POOL_RESIZED: 14,
  POOL_STOPPED: 15,
  RETRY: 16,
  RETRY_EXHAUSTED: 17,
  BREAKER: 18,
  SESSION_OPENED: 19,
  SESSION_LOST: 20,
  CELL: 21,
  COPIED: 22,
  PROGRESS: 23,
  DROPPED: 24,
  USER: 25,
  ALERT: 26,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

export const Outcome = { NONE: 0, OK: 1, ERROR: 2, CANCELLED: 3, TIMEOUT: 4, CRASHED: 5 } as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

export const POOL_LANE = 0;

export type ColumnType = "f8" | "f4" | "u4" | "u2" | "u1";

export const ROW_COLUMNS: readonly (readonly [string, ColumnType])[] = [
  ["t", "f8"],
  ["dur", "f4"],
  ["extra", "f4"],
  ["id", "u4"],
  ["lane", "u2"],
  ["name", "u2"],
  ["life", "u2"],
  ["kind", "u1"],
  ["outcome", "u1"],
];

export const DENSITY_COLUMNS: readonly (readonly [string, ColumnType])[] = [
  ["t", "f8"],
  ["width", "f4"],
  ["busy", "f4"],
  ["count", "u4"],
  ["failed", "u4"],
  ["lane", "u2"],
];

export const SAMPLE_COLUMNS = ["t", "queue", "throughput", "p50", "p95", "p99"] as const;
export const STAT_COLUMNS = ["t", "lane", "memory_mb", "cpu_percent", "gpu_memory_mb"] as const;

/** A lane: the pool's own (index 0), or one for each worker slot; `label` is for people ("default-1"). */
export interface Lane {
  lane: number;
  label: string;
  kind: "pool" | "worker" | "user";
  /** The worker that is in the slot now; null where none is. */
  worker: string | null;
  /** Until when the slot takes no work (seconds since the origin); null where it is not tainted. */
  tainted_until: number | null;
  state: "busy" | "idle" | "tainted" | "starting" | "gone";
}

/** A request that runs now: id of its event, lane, name, life, when it began, how long it had waited, request. */
export type Open = [
  id: number,
  lane: number,
  name: number,
  life: number,
  t: number,
  wait: number,
  request: number,
];

export interface Summary {
  pool: string;
  profile: "process" | "thread";
  state: "running" | "stopped" | "broken";
  /** Why it stopped; "" while it runs. */
  reason: string;
  workers: { busy: number; idle: number; tainted: number; starting: number; target: number };
  queued: number;
  requests: { ok: number; error: number; cancelled: number; timeout: number; crashed: number };
  bytes_shared: number;
  bytes_copied: number;
  recycled: number;
  crashes: number;
  exceptions: number;
  saturated_since: number | null;
  /** Events that came so far, and rows that the kernel has forgotten since. */
  events: number;
  forgotten: number;
}

export interface Batch {
  type: "batch";
  /** One more than the batch before. */
  seq: number;
  key: boolean;
  /** Unix time of t = 0, in milliseconds; the same for the whole life of a model. */
  origin_ms: number;
  /** The kernel's time when the batch was made, in seconds since the origin. */
  now: number;
  /** Strings added to the dictionary: the first of them has index `base`. */
  base: number;
  strings: string[];
  /** All lanes, each time (there are few). */
  lanes: Lane[];
  open: Open[];
  rows: number;
  density: number;
  samples: number;
  stats: number;
  summary: Summary;
}

export interface SummaryMessage {
  type: "summary";
  /** The number of the last batch that was sent. */
  seq: number;
  now: number;
  summary: Summary;
}

/** A full event: measurements and metadata as they were emitted; the error as it was under its cell. */
export interface Details {
  type: "details";
  ask: number;
  id: number;
  /** False where the kernel has forgotten it; then the rest is empty. */
  found: boolean;
  event: string;
  measurements: Record<string, number>;
  metadata: Record<string, unknown>;
  /** The error page (made and escaped by the kernel), or "" where there is none. */
  html: string;
  text: string;
}

export interface Done {
  type: "done";
  ask: number;
  ok: boolean;
  text: string;
}

/** The one buffer of the message is the file; where `ok` is false there is none, and `text` says why. */
export interface FileMessage {
  type: "file";
  ask: number;
  ok: boolean;
  text: string;
  name: string;
  mime: string;
}

/** What stays in the notebook, as it would be now: told now and then, and when the pool has stopped. */
export interface Report {
  type: "report";
  /** The model that the outputs to be replaced name. */
  model: string;
  text: string;
  /** Made and escaped by the kernel. */
  html: string;
}

export type FromKernel = Batch | SummaryMessage | Details | Done | FileMessage | Report;

export type Action =
  | { action: "scale"; workers: number }
  | { action: "recycle"; worker: string | null }
  | { action: "cancel"; request: number }
  | { action: "stop" };

export type ToKernel =
  | { verb: "hello"; view: string }
  | { verb: "resync" }
  | { verb: "visible"; view: string; on: boolean }
  | { verb: "ping"; view: string }
  | { verb: "details"; ask: number; id: number }
  | ({ verb: "do"; ask: number } & Action)
  | { verb: "export"; ask: number; format: string };
