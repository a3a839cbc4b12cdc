/** Data as a kernel would send it, from a seed: for tests and for the bench. */
import type { Batch, ColumnType, Lane, Open, Summary } from "../src/protocol";
import { DENSITY_COLUMNS, Kind, Outcome, ROW_COLUMNS } from "../src/protocol";

/** Numbers from 0 to 1, the same for the same seed (mulberry32, by Tommy Ettinger, public domain). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
  };
}

export interface Row {
  t: number;
  dur: number;
  extra: number;
  id: number;
  lane: number;
  name: number;
  life: number;
  kind: number;
  outcome: number;
}

export interface Interval {
  t: number;
  width: number;
  busy: number;
  count: number;
  failed: number;
  lane: number;
}

const SIZES: Record<ColumnType, number> = { f8: 8, f4: 4, u4: 4, u2: 2, u1: 1 };

/** As the kernel packs it. `shift`: how many bytes lie before it in its buffer. */
export function pack(items: readonly object[], layout: readonly (readonly [string, ColumnType])[], shift = 0): DataView {
  const size = layout.reduce((sum, [, type]) => sum + SIZES[type], 0);
  const view = new DataView(new ArrayBuffer(shift + size * items.length), shift);
  let at = 0;
  for (const [name, type] of layout) {
    for (const item of items) {
      const value = (item as Record<string, number>)[name]!;
      if (type === "f8") view.setFloat64(at, value, true);
      else if (type === "f4") view.setFloat32(at, value, true);
      else if (type === "u4") view.setUint32(at, value, true);
      else if (type === "u2") view.setUint16(at, value, true);
      else view.setUint8(at, value);
      at += SIZES[type];
    }
  }
  return view;
}

export function packNumbers(rows: readonly (readonly number[])[], shift = 0): DataView {
  const width = rows[0]?.length ?? 0;
  const view = new DataView(new ArrayBuffer(shift + 8 * width * rows.length), shift);
  rows.flat().forEach((value, i) => view.setFloat64(i * 8, value, true));
  return view;
}

export function lanesOf(workers: number): Lane[] {
  const lanes: Lane[] = [{ lane: 0, label: "pool", kind: "pool", worker: null, tainted_until: null, state: "idle" }];
  for (let lane = 1; lane <= workers; lane++) {
    lanes.push({ lane, label: `default-${lane}`, kind: "worker", worker: `default-${lane}.1`, tainted_until: null, state: "busy" });
  }
  return lanes;
}

export const SUMMARY: Summary = {
  pool: "default",
  profile: "process",
  state: "running",
  reason: "",
  workers: { busy: 1, idle: 1, tainted: 0, starting: 0, target: 2 },
  queued: 0,
  requests: { ok: 0, error: 0, cancelled: 0, timeout: 0, crashed: 0 },
  bytes_shared: 0,
  bytes_copied: 0,
  recycled: 0,
  crashes: 0,
  exceptions: 0,
  saturated_since: null,
  events: 0,
  forgotten: 0,
};

export function batchOf(
  parts: Partial<Batch> & { data?: Row[]; intervals?: Interval[]; points?: number[][]; figures?: number[][]; shift?: number },
): [Batch, DataView[]] {
  const { data = [], intervals = [], points = [], figures = [], shift = 0, ...header } = parts;
  const batch: Batch = {
    ...{ type: "batch", seq: 1, key: true, origin_ms: 1_760_000_000_000, now: 0, base: 0, strings: [] },
    ...{ lanes: [], open: [], summary: SUMMARY },
    ...{ rows: data.length, density: intervals.length, samples: points.length, stats: figures.length },
    ...header,
  };
  const buffers = [pack(data, ROW_COLUMNS, shift), pack(intervals, DENSITY_COLUMNS, shift), packNumbers(points, shift), packNumbers(figures, shift)];
  return [batch, buffers];
}

/** In the order in which a store keeps them: bars first, then markers. */
export function kept(rows: readonly Row[]): Row[] {
  return [...rows.filter(({ kind }) => kind === Kind.REQUEST), ...rows.filter(({ kind }) => kind !== Kind.REQUEST)];
}

export const NAMES = ["fit", "load_frame", "score", "tokenize", "render", "mean of columns", "ValueError", "manual", "segfault", "first_share", "In [12]", "x"];

/** A pool's life: requests one after the other in each lane, and all that can befall them; rows in the order of their ends. */
export function life(options: { seed: number; workers: number; seconds: number; mean: number; trouble?: number; threads?: number }): {
  rows: Row[];
  open: Open[];
} {
  const { seed, workers, seconds, mean, trouble = 0.03, threads = 1 } = options;
  const next = random(seed);
  const rows: Row[] = [];
  const open: Open[] = [];
  let id = 0;
  const row = (part: Partial<Row>): void => {
    rows.push({ t: 0, dur: 0, extra: 0, id: ++id, lane: 0, name: 0, life: 1, kind: Kind.REQUEST, outcome: 0, ...part });
  };
  for (let lane = 1; lane <= workers; lane++) {
    for (let thread = 0; thread < threads; thread++) {
      let t = next() * mean;
      let life = 1;
      if (thread === 0) row({ t, lane, kind: Kind.STARTED, extra: 0.2 });
      while (t < seconds) {
        const dur = mean * -Math.log(1 - next()) * (0.5 + lane / workers);
        const name = Math.floor(next() * 6);
        if (t + dur > seconds) {
          open.push([++id, lane, name, life, t, next() * mean, id]);
          break;
        }
        const bad = next() < trouble;
        const outcome = bad ? 2 + Math.floor(next() * 4) : Outcome.OK;
        row({ t, dur, lane, name, life, outcome, extra: next() < 0.5 ? next() * mean : 0 });
        if (next() < 0.15) row({ t: t + dur * 0.3, lane, life, kind: Kind.EXPORT, extra: 2 ** (10 + next() * 22) });
        if (next() < 0.05) row({ t: t + dur * 0.5, lane, life, kind: Kind.FALLBACK, name: 9, extra: 2 ** (10 + next() * 20) });
        t += dur;
        if (outcome === Outcome.ERROR) row({ t, lane, life, kind: Kind.EXCEPTION, name: 6 });
        if (outcome === Outcome.CRASHED) {
          row({ t, lane, life, kind: Kind.CRASH, name: 8 });
          row({ t, lane, life, kind: Kind.RECYCLED, name: 8, extra: t });
          const taint = mean * 2;
          row({ t, dur: taint, lane, life, kind: Kind.TAINTED });
          t += taint;
          row({ t, lane, life: ++life, kind: Kind.STARTED });
          row({ t, lane, life, kind: Kind.RESTARTED });
        } else if (next() < trouble / 3) {
          row({ t, lane, life, kind: Kind.RECYCLED, name: 7, extra: t });
          t += mean * 0.5;
          row({ t, lane, life: ++life, kind: Kind.STARTED });
        }
        if (next() < 0.6) t += mean * 0.25 * next();
      }
    }
  }
  for (let t = 0; t < seconds; t += seconds / 6) {
    row({ t, dur: seconds / 8, kind: Kind.CELL, name: 10, outcome: Outcome.OK });
    row({ t: t + seconds / 20, dur: seconds / 25, kind: Kind.SATURATED });
  }
  row({ t: 0, kind: Kind.POOL_STARTED });
  row({ t: seconds * 0.6, kind: Kind.POOL_RESIZED, extra: workers });
  rows.sort((a, b) => a.t + (a.kind === Kind.TAINTED ? 0 : a.dur) - (b.t + (b.kind === Kind.TAINTED ? 0 : b.dur)));
  rows.forEach((one, i) => (one.id = i + 1));
  return { rows, open };
}
