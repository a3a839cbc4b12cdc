/**
 * What a view needs to know of the data: implemented by `data/`, used by `canvas/` and `view/`.
 *
 * One store for each model, however many views it has.
 */
import type { Action, Details, Done, FileMessage, Lane, Open, Summary, ToKernel } from "./protocol";

/** What is told of each row. */
export interface Fields {
  t(i: number): number;
  dur(i: number): number;
  extra(i: number): number;
  id(i: number): number;
  lane(i: number): number;
  name(i: number): number;
  life(i: number): number;
  kind(i: number): number;
  outcome(i: number): number;
}

/**
 * Rows as columns: bars of requests first, then all others, the markers; each of the two in order of arrival, the
 * oldest that is kept first. A view must not keep an index over a tick.
 */
export interface Rows extends Fields {
  readonly length: number;
  /** How many of them are bars. */
  readonly bars: number;
  /** Grows when all was forgotten at once. */
  readonly epoch: number;
  /** A row's number, for as long as it is kept; of bars and of markers each two more than the one before. */
  number(i: number): number;
  /** Where the row of a number is now; -1 where it is kept no more. */
  index(number: number): number;
  /** Calls `visit` for every row, the last that came first. */
  newest(visit: (i: number) => void): void;
  /**
   * Calls `each` for runs of rows, `last` excluded; every row that touches the span is in one of them. For those who
   * look through very many: row i of a run is row i - before of `part`, where it is read more quickly.
   */
  within(from: number, to: number, each: (first: number, last: number, part: Fields, before: number) => void): void;
}

export interface Density {
  readonly length: number;
  t(i: number): number;
  width(i: number): number;
  busy(i: number): number;
  count(i: number): number;
  failed(i: number): number;
  lane(i: number): number;
  within(from: number, to: number, each: (first: number, last: number) => void): void;
}

export type Link = "live" | "waiting" | "silent";

export interface Store {
  readonly rows: Rows;
  readonly density: Density;
  readonly lanes: readonly Lane[];
  readonly open: readonly Open[];
  readonly summary: Summary | null;
  /** Columns of the charts, each as long as `t`; times in seconds since the origin. */
  readonly samples: { t: number[]; queue: number[]; throughput: number[]; p50: number[]; p95: number[]; p99: number[] };
  /** By lane. */
  readonly stats: ReadonlyMap<number, { t: number[]; memory_mb: number[]; cpu_percent: number[]; gpu_memory_mb: number[] }>;
  readonly originMs: number;
  /** The kernel's clock now, in seconds since the origin, estimated between messages; stands where it is silent. */
  now(): number;
  /** "…" where the string is not known. */
  text(name: number): string;
  /** Grows with every change: a view draws again where it is another than it drew. */
  readonly version: number;
  /** live; waiting: a question is unanswered for a second (the kernel is busy); silent: nothing for 5 s. */
  readonly link: Link;
  subscribe(changed: () => void): () => void;
  send(message: ToKernel): void;
  details(id: number): Promise<Details>;
  act(action: Action): Promise<Done>;
  file(format: string): Promise<{ message: FileMessage; data: DataView | null }>;
}

/** What is shown of the rows; empty sets and text show all. */
export interface Filter {
  lanes: ReadonlySet<number>;
  kinds: ReadonlySet<number>;
  outcomes: ReadonlySet<number>;
  /** In the name, without regard to case. */
  text: string;
}

/** The visible span of time, in seconds since the origin. */
export interface Span {
  from: number;
  to: number;
}

/** What the canvas tells the view. */
export interface Hit {
  /** -1 for a request that still runs: then `open` is it. */
  row: number;
  open: Open | null;
  /** How many markers of one kind stand here one on the other; `row` is the newest of them. */
  count: number;
  x: number;
  y: number;
}
