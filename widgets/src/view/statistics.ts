/** What a selected span of time holds, in figures. */
import { Kind, Outcome, POOL_LANE } from "../protocol";
import type { Span, Store } from "../store";

export interface Statistics {
  seconds: number;
  /** Requests that ended in the span, those that density stands for included. */
  count: number;
  ok: number;
  failed: number;
  /** Requests ended in a second. */
  throughput: number;
  /** p50, p95 and p99 in seconds; NaN where no request ended. */
  duration: [number, number, number];
  wait: [number, number, number];
  shared: number;
  copied: number;
  /** How much of the span a lane ran at least one request, from 0 to 1. */
  busy: { lane: number; label: string; share: number }[];
}

export function statisticsOf(store: Store, span: Span): Statistics {
  const { rows, density } = store;
  const seconds = Math.max(span.to - span.from, 1e-9);
  const durations: number[] = [];
  const waits: number[] = [];
  const intervals = new Map<number, [number, number][]>();
  let count = 0;
  let failed = 0;
  let shared = 0;
  let copied = 0;
  const runs = (lane: number, from: number, to: number): void => {
    const begin = Math.max(from, span.from);
    const end = Math.min(to, span.to);
    if (end <= begin) return;
    const there = intervals.get(lane);
    if (there === undefined) intervals.set(lane, [[begin, end]]);
    else there.push([begin, end]);
  };
  const look = (i: number): void => {
    const t = rows.t(i);
    const kind = rows.kind(i);
    const end = t + rows.dur(i);
    if (t > span.to || end < span.from) return;
    if (kind === Kind.REQUEST) {
      runs(rows.lane(i), t, end);
      if (end > span.to) return;
      count += 1;
      if (rows.outcome(i) > Outcome.OK) failed += 1;
      durations.push(rows.dur(i));
      waits.push(rows.extra(i));
    } else if (kind === Kind.EXPORT) shared += rows.extra(i);
    else if (kind === Kind.FALLBACK) copied += rows.extra(i);
  };
  rows.within(span.from, span.to, (first, last) => {
    for (let i = first; i < last; i += 1) look(i);
  });
  for (const open of store.open) runs(open[1], open[4], store.now());
  const busy = new Map<number, number>();
  for (const [lane, there] of intervals) busy.set(lane, covered(there));
  const sum = (i: number): void => {
    const t = density.t(i);
    const width = density.width(i);
    const part = Math.max(0, Math.min(t + width, span.to) - Math.max(t, span.from)) / width;
    if (!(part > 0)) return;
    count += density.count(i) * part;
    failed += density.failed(i) * part;
    busy.set(density.lane(i), (busy.get(density.lane(i)) ?? 0) + density.busy(i) * width * part);
  };
  density.within(span.from, span.to, (first, last) => {
    for (let i = first; i < last; i += 1) sum(i);
  });
  count = Math.round(count);
  failed = Math.round(failed);
  return {
    seconds,
    count,
    ok: count - failed,
    failed,
    throughput: count / seconds,
    duration: percentiles(durations),
    wait: percentiles(waits),
    shared,
    copied,
    busy: store.lanes
      .filter((lane) => lane.lane !== POOL_LANE && lane.kind === "worker")
      .map(({ lane, label }) => ({ lane, label, share: Math.min(1, (busy.get(lane) ?? 0) / seconds) })),
  };
}

/** The length of the union of intervals. */
function covered(intervals: [number, number][]): number {
  intervals.sort((a, b) => a[0] - b[0]);
  let sum = 0;
  let reached = -Infinity;
  for (const [from, to] of intervals) {
    if (to <= reached) continue;
    sum += to - Math.max(from, reached);
    reached = to;
  }
  return sum;
}

/** By nearest rank. */
function percentiles(values: number[]): [number, number, number] {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
  return [at(0.5), at(0.95), at(0.99)];
}
