/** Figures as people read them. */

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** "1.2 GB"; decimal units. */
export function bytes(value: number): string {
  if (!Number.isFinite(value)) return "–";
  let at = 0;
  while (Math.abs(value) >= 999.5 && at < UNITS.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${at === 0 ? Math.round(value) : three(value)} ${UNITS[at]}`;
}

/** Three figures: 1.23, 12.3, 123. */
export function three(value: number): string {
  const size = Math.abs(value);
  if (size >= 99.95) return String(Math.round(value));
  return value.toFixed(size >= 9.995 ? 1 : 2).replace(/\.?0+$/, "");
}

/** From seconds: "12 µs", "3.2 ms", "1.24 s", "2 min 03 s", "1 h 02 min". */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "–";
  const size = Math.abs(seconds);
  if (size === 0) return "0 s";
  if (size < 0.9995e-3) return `${three(seconds * 1e6)} µs`;
  if (size < 0.9995) return `${three(seconds * 1e3)} ms`;
  if (size < 59.95) return `${three(seconds)} s`;
  const whole = Math.round(size);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** "12,345" */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en");
}

/** "3 requests", "1 request" */
export function many(value: number, word: string): string {
  return `${count(value)} ${word}${value === 1 ? "" : "s"}`;
}

/** "94 %" */
export function percent(share: number): string {
  return Number.isFinite(share) ? `${three(share * 100)} %` : "–";
}

/** Local time from Unix milliseconds: "14:03:07.042". */
export function clock(ms: number): string {
  const at = new Date(ms);
  if (Number.isNaN(at.getTime())) return "–";
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/** Local date and time from Unix milliseconds: "2031-05-04 14:03:07.042". */
export function moment(ms: number): string {
  const at = new Date(ms);
  if (Number.isNaN(at.getTime())) return "–";
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(ms)}`;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
