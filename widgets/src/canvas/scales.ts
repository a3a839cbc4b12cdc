/** From time to pixels and back, and the ticks of the axis: a time of day, down to the millisecond and microsecond. */
import type { Span } from "../store";

/** The shortest and the longest span that can be shown, in seconds. */
export const SHORTEST = 20e-6;
export const LONGEST = 400 * 86400;

export interface Scale {
  readonly from: number;
  readonly to: number;
  /** Where the plot begins and how wide it is, in CSS pixels. */
  readonly left: number;
  readonly width: number;
  /** Seconds in a pixel. */
  readonly spp: number;
}

export function scaleOf(span: Span, left: number, width: number): Scale {
  const wide = Math.max(1, width);
  return { from: span.from, to: span.to, left, width: wide, spp: (span.to - span.from) / wide };
}

export function xOf(scale: Scale, t: number): number {
  return scale.left + (t - scale.from) / scale.spp;
}

export function timeOf(scale: Scale, x: number): number {
  return scale.from + (x - scale.left) * scale.spp;
}

/** The span made `factor` times as short around `at`, which stays where it is. */
export function zoomed(span: Span, factor: number, at: number): Span {
  const length = span.to - span.from;
  const wanted = Math.min(LONGEST, Math.max(SHORTEST, length / factor));
  const share = length > 0 ? (at - span.from) / length : 0.5;
  const from = at - share * wanted;
  return { from, to: from + wanted };
}

export interface Tick {
  t: number;
  label: string;
  /** A whole second among milliseconds, midnight among hours: drawn stronger. */
  strong: boolean;
}

export interface Axis {
  ticks: Tick[];
  /** What the labels leave out: the date, and below a second the second. */
  base: string;
}

const STEPS = [
  ...[1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4],
  ...[1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5],
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200],
];
const DAY = 86400;

export function axis(span: Span, width: number, originMs: number, gap = 84): Axis {
  const least = ((span.to - span.from) / Math.max(1, width)) * gap;
  if (!(least > 0) || !Number.isFinite(least)) return { ticks: [], base: "" };
  const step = STEPS.find((candidate) => candidate >= least) ?? Math.ceil(least / DAY) * DAY;
  return step < 1 ? fineAxis(span, step, originMs) : clockAxis(span, step, originMs);
}

/** Steps of a second and more fall on round times of the local day. */
function clockAxis(span: Span, step: number, originMs: number): Axis {
  const origin = originMs / 1000;
  // The local clock's distance from UTC, in seconds; within one picture it is taken to be the same.
  const shift = -60 * new Date(originMs + span.from * 1000).getTimezoneOffset();
  const ticks: Tick[] = [];
  const begin = Math.ceil((origin + span.from + shift) / step);
  for (let k = begin; ; k++) {
    const local = k * step;
    const t = local - shift - origin;
    if (t > span.to) break;
    const midnight = local % DAY === 0;
    const date = new Date((local - shift) * 1000);
    const label = midnight ? dayOf(date) : step < 60 ? clockOf(date) : clockOf(date).slice(0, 5);
    ticks.push({ t, label, strong: midnight || (step < 60 && local % 60 === 0) });
  }
  return { ticks, base: dayOf(new Date(originMs + span.from * 1000)) };
}

/** Below a second the labels count from the last whole second, below a millisecond from the last whole millisecond. */
function fineAxis(span: Span, step: number, originMs: number): Axis {
  const whole = step < 1e-3 ? 1000 : 1; // how many wholes make a second
  const perWhole = Math.round(1 / (whole * step));
  // A whole's time is counted from the origin's own second, for a Unix time in microseconds has no digits to spare.
  const second = Math.floor(originMs / 1000);
  const rest = originMs / 1000 - second;
  const wholeOf = (k: number): string => {
    const date = new Date(second * 1000 + Math.round((k / whole) * 1000));
    return whole === 1 ? clockOf(date) : `${clockOf(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  };
  const ticks: Tick[] = [];
  for (let k = Math.ceil((span.from + rest) / step - 1e-6); ; k++) {
    const t = k * step - rest;
    if (t > span.to) break;
    const part = ((k % perWhole) + perWhole) % perWhole;
    const label = part === 0 ? wholeOf(Math.round(k / perWhole)) : `+${fraction(part * step)}`;
    ticks.push({ t, label, strong: part === 0 });
  }
  return { ticks, base: wholeOf(Math.floor((span.from + rest) * whole + 1e-6)) };
}

function fraction(seconds: number): string {
  return seconds < 1e-3 ? `${Math.round(seconds * 1e6)} µs` : `${Number((seconds * 1e3).toFixed(3))} ms`;
}

function clockOf(date: Date): string {
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

function dayOf(date: Date): string {
  const pad = (part: number): string => String(part).padStart(2, "0");
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}
