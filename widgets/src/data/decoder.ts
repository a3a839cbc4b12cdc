/**
 * A batch's buffers as typed arrays; what does not fit the batch's own counts is refused, never read past its end.
 *
 * Rule: the arrays are copies. A buffer lies anywhere in the message that brought it, so its offset need not be
 * aligned, and a view of it would keep the whole message alive.
 * Rule: the wire is little-endian whatever the host is.
 */
import type { Batch, ColumnType, Lane, Open, Summary } from "../protocol";
import { DENSITY_COLUMNS, ROW_COLUMNS, SAMPLE_COLUMNS, STAT_COLUMNS } from "../protocol";

export interface RowColumns {
  readonly length: number;
  readonly t: Float64Array;
  readonly dur: Float32Array;
  readonly extra: Float32Array;
  readonly id: Uint32Array;
  readonly lane: Uint16Array;
  readonly name: Uint16Array;
  readonly life: Uint16Array;
  readonly kind: Uint8Array;
  readonly outcome: Uint8Array;
}

export interface DensityColumns {
  readonly length: number;
  readonly t: Float64Array;
  readonly width: Float32Array;
  readonly busy: Float32Array;
  readonly count: Uint32Array;
  readonly failed: Uint32Array;
  readonly lane: Uint16Array;
}

export interface Decoded {
  readonly rows: RowColumns;
  readonly density: DensityColumns;
  /** One row of `SAMPLE_COLUMNS` after the other. */
  readonly samples: Float64Array;
  /** One row of `STAT_COLUMNS` after the other. */
  readonly stats: Float64Array;
}

/** What came is not a batch. */
export class BadBatch extends Error {
  override name = "BadBatch";
}

type Numbers = Float64Array | Float32Array | Uint32Array | Uint16Array | Uint8Array;
const ARRAYS = { f8: Float64Array, f4: Float32Array, u4: Uint32Array, u2: Uint16Array, u1: Uint8Array } as const;
const HOST_IS_LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
/** More rows than a batch may have: a garbled count is not an order for gigabytes. */
const MOST = 4_000_000;

/** Throws `BadBatch`. `little` is for tests: whether this host is little-endian. */
export function decode(batch: Batch, buffers: readonly DataView[], little = HOST_IS_LITTLE): Decoded {
  checkHeader(batch);
  const rows = columns("rows", batch.rows, ROW_COLUMNS, buffers[0], little) as unknown as RowColumns;
  const density = columns("density", batch.density, DENSITY_COLUMNS, buffers[1], little) as unknown as DensityColumns;
  checkTimes("rows", rows.t, rows.dur);
  checkTimes("density", density.t, density.width);
  return {
    rows,
    density,
    samples: table("samples", batch.samples, SAMPLE_COLUMNS.length, buffers[2], little),
    stats: table("stats", batch.stats, STAT_COLUMNS.length, buffers[3], little),
  };
}

function columns(
  what: string,
  count: number,
  layout: readonly (readonly [string, ColumnType])[],
  buffer: DataView | undefined,
  little: boolean,
): Record<string, Numbers | number> {
  const size = layout.reduce((sum, [, type]) => sum + ARRAYS[type].BYTES_PER_ELEMENT, 0);
  checkSize(what, count, size, buffer);
  const made: Record<string, Numbers | number> = { length: count };
  let at = 0;
  for (const [name, type] of layout) {
    made[name] = column(type, buffer, at, count, little);
    at += count * ARRAYS[type].BYTES_PER_ELEMENT;
  }
  return made;
}

function table(what: string, count: number, width: number, buffer: DataView | undefined, little: boolean): Float64Array {
  checkSize(what, count, width * 8, buffer);
  return column("f8", buffer, 0, count * width, little) as Float64Array;
}

function column(type: ColumnType, buffer: DataView | undefined, at: number, count: number, little: boolean): Numbers {
  const size = ARRAYS[type].BYTES_PER_ELEMENT;
  const bytes = new Uint8Array(count * size);
  if (buffer !== undefined && count > 0) {
    bytes.set(new Uint8Array(buffer.buffer, buffer.byteOffset + at, count * size));
  }
  if (!little && size > 1) for (let i = 0; i < bytes.length; i += size) bytes.subarray(i, i + size).reverse();
  return new ARRAYS[type](bytes.buffer);
}

function checkSize(what: string, count: number, size: number, buffer: DataView | undefined): void {
  if (!Number.isInteger(count) || count < 0 || count > MOST) throw new BadBatch(`${what}: ${count} is no count`);
  const there = buffer?.byteLength ?? 0;
  if (there !== count * size) throw new BadBatch(`${what}: ${there} bytes for ${count} of ${size}`);
}

/** A time that is no number would make every search by time wrong. A duration below 0 is a clock's jitter. */
function checkTimes(what: string, t: Float64Array, dur: Float32Array): void {
  for (let i = 0; i < t.length; i++) {
    if (!Number.isFinite(t[i]) || !Number.isFinite(dur[i])) throw new BadBatch(`${what}: a time is no number`);
    if (dur[i]! < 0) dur[i] = 0;
  }
}

function checkHeader(batch: Batch): void {
  const right =
    Number.isInteger(batch.seq) &&
    typeof batch.key === "boolean" &&
    Number.isFinite(batch.origin_ms) &&
    Number.isFinite(batch.now) &&
    Number.isInteger(batch.base) &&
    batch.base >= 0 &&
    isList(batch.strings, (text) => typeof text === "string") &&
    batch.base + batch.strings.length <= 0x10000 &&
    isList(batch.lanes, isLane) &&
    isList(batch.open, isOpen) &&
    isSummary(batch.summary);
  if (!right) throw new BadBatch("the header is not a batch's");
}

function isList(value: unknown, each: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(each);
}

function isLane(value: unknown): boolean {
  const lane = value as Lane | null;
  if (typeof lane !== "object" || lane === null || typeof lane.label !== "string") return false;
  return Number.isInteger(lane.lane) && lane.lane >= 0 && lane.lane <= 0xffff;
}

function isOpen(value: unknown): boolean {
  const open = value as Open | null;
  return Array.isArray(open) && open.length === 7 && open.every((part) => Number.isFinite(part));
}

export function isSummary(value: unknown): value is Summary {
  const summary = value as Summary | null;
  return typeof summary === "object" && summary !== null && typeof summary.pool === "string";
}
