/** The markers: each kind has a shape of its own, so that none is told by its colour alone. */
import { Kind } from "../protocol";
import type { Colours, ColourName } from "./colours";
import { KINDS, UNKNOWN } from "./lod";

export type Ctx = CanvasRenderingContext2D;
/** What tracing and filling a shape needs, on or off the screen. */
type Pen = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

interface Glyph {
  readonly colour: ColourName;
  /** In the middle of the lane with a line through it, above the bar, or at the lane's lower edge. */
  readonly slot: "middle" | "high" | "low";
  readonly hollow: boolean;
  /** On which side of its moment it stands: what begins a life before it, what ends one after, so that no bar is covered. */
  readonly lean: -1 | 0 | 1;
  /** What matters more is drawn later, above the rest, and keeps its place; of one moment, what comes first has more. */
  readonly weight: number;
  trace(ctx: Pen, x: number, y: number, r: number): void;
}

function polygon(...points: readonly (readonly [number, number])[]): Glyph["trace"] {
  return (ctx, x, y, r) => {
    points.forEach(([dx, dy], i) => (i === 0 ? ctx.moveTo(x + dx * r, y + dy * r) : ctx.lineTo(x + dx * r, y + dy * r)));
    ctx.closePath();
  };
}

function disc(from: number, to: number): Glyph["trace"] {
  return (ctx, x, y, r) => {
    ctx.moveTo(x + r * Math.cos(from), y + r * Math.sin(from));
    ctx.arc(x, y, r, from, to);
    ctx.closePath();
  };
}

function both(...parts: readonly Glyph["trace"][]): Glyph["trace"] {
  return (ctx, x, y, r) => parts.forEach((part) => part(ctx, x, y, r));
}

const SQUARE = polygon([-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]);
const DIAMOND = polygon([0, -1.1], [1.1, 0], [0, 1.1], [-1.1, 0]);
const UP = polygon([0, -1], [1, 0.8], [-1, 0.8]);
const CROSS = polygon(
  ...([[-1.1, -0.65], [-0.65, -1.1], [0, -0.45], [0.65, -1.1], [1.1, -0.65], [0.45, 0]] as const),
  ...([[1.1, 0.65], [0.65, 1.1], [0, 0.45], [-0.65, 1.1], [-1.1, 0.65], [-0.45, 0]] as const),
);

function glyph(
  colour: ColourName,
  slot: Glyph["slot"],
  weight: number,
  trace: Glyph["trace"],
  hollow = false,
  lean: Glyph["lean"] = 0,
): Glyph {
  return { colour, slot, weight, trace, hollow, lean };
}

const BY_KIND: Readonly<Record<number, Glyph>> = {
  [Kind.STARTED]: glyph("ok", "middle", 5, polygon([-0.75, -1.05], [1.05, 0], [-0.75, 1.05]), false, -1),
  [Kind.RECYCLED]: glyph("life", "middle", 10, disc(0, 2 * Math.PI), true, 1),
  [Kind.CRASH]: glyph("error", "middle", 12, CROSS, false, 1),
  [Kind.TAINTED]: glyph("tainted", "middle", 9, polygon([0, -1.15], [1.2, 0.95], [-1.2, 0.95]), true, 1),
  [Kind.RESTARTED]: glyph(
    "ok", "middle", 4, both(polygon([-1.2, -0.95], [0, 0], [-1.2, 0.95]), polygon([0, -0.95], [1.2, 0], [0, 0.95])), false, -1,
  ),
  [Kind.HEALTH_CHECK_FAILED]: glyph("timeout", "middle", 8, DIAMOND, true),
  [Kind.EXPORT]: glyph("shared", "low", 1, UP),
  [Kind.FALLBACK]: glyph("copied", "low", 2, SQUARE),
  [Kind.LEAKED]: glyph("error", "low", 4, SQUARE, true),
  [Kind.EXCEPTION]: glyph("error", "high", 10, DIAMOND),
  [Kind.REJECTED]: glyph(
    "crashed", "middle", 8, both(disc(1.15 * Math.PI, 1.85 * Math.PI), disc(0.15 * Math.PI, 0.85 * Math.PI)),
  ),
  [Kind.POOL_STARTED]: glyph("fg", "middle", 5, polygon([-0.7, -1.1], [1.1, -0.5], [-0.35, 0.1], [-0.35, 1.1], [-0.7, 1.1])),
  [Kind.POOL_RESIZED]: glyph(
    "fg", "middle", 5, both(polygon([0, -1.15], [0.85, -0.2], [-0.85, -0.2]), polygon([0, 1.15], [0.85, 0.2], [-0.85, 0.2])),
  ),
  [Kind.POOL_STOPPED]: glyph("fg", "middle", 11, SQUARE),
  [Kind.RETRY]: glyph("timeout", "high", 6, polygon([0.8, -1], [-0.9, 0], [0.8, 1], [0.1, 0])),
  [Kind.RETRY_EXHAUSTED]: glyph(
    "error", "high", 7, both(polygon([1, -1], [-0.6, 0], [1, 1]), polygon([-1.1, -1], [-0.8, -1], [-0.8, 1], [-1.1, 1])),
  ),
  [Kind.BREAKER]: glyph("timeout", "middle", 8, polygon([0.3, -1.2], [-0.8, 0.2], [-0.05, 0.2], [-0.3, 1.2], [0.8, -0.2], [0.05, -0.2])),
  [Kind.SESSION_OPENED]: glyph("user", "high", 4, disc(Math.PI, 2 * Math.PI)),
  [Kind.SESSION_LOST]: glyph("error", "high", 6, disc(0, Math.PI), true),
  [Kind.CELL]: glyph("cell", "high", 1, polygon([-1, -0.4], [1, -0.4], [1, 0.4], [-1, 0.4])),
  [Kind.COPIED]: glyph("copied", "low", 2, UP, true),
  [Kind.PROGRESS]: glyph("muted", "low", 0, polygon([-0.2, -0.9], [0.2, -0.9], [0.2, 0.9], [-0.2, 0.9])),
  [Kind.DROPPED]: glyph("error", "high", 9, polygon([0, 1], [1, -0.8], [-1, -0.8])),
  [Kind.USER]: glyph(
    "user", "high", 3,
    polygon([0, -1.2], [0.3, -0.3], [1.2, 0], [0.3, 0.3], [0, 1.2], [-0.3, 0.3], [-1.2, 0], [-0.3, -0.3]),
  ),
  [Kind.ALERT]: glyph(
    "error", "high", 11, both(polygon([-0.35, -1.2], [0.35, -1.2], [0.2, 0.35], [-0.2, 0.35]), polygon([-0.3, 0.65], [0.3, 0.65], [0.3, 1.2], [-0.3, 1.2])),
  ),
  [UNKNOWN]: glyph("muted", "high", 0, disc(0, 2 * Math.PI)),
};

const ANY = BY_KIND[UNKNOWN]!;

export function glyphOf(kind: number): Glyph {
  return BY_KIND[kind] ?? ANY;
}

/** The kinds, what matters most at the end. */
export const BY_WEIGHT: readonly number[] = [...Array(KINDS).keys()].sort((a, b) => glyphOf(a).weight - glyphOf(b).weight);

/** One glyph, with a rim of the background around it; also for the legend. `many`: it stands for several. */
export function paintGlyph(ctx: Pen, kind: number, x: number, y: number, r: number, colours: Colours, many = false): void {
  const { colour, hollow, trace } = glyphOf(kind);
  ctx.lineJoin = "round";
  ctx.beginPath();
  trace(ctx, x, y, r);
  ctx.strokeStyle = colours.bg;
  ctx.lineWidth = hollow ? 5 : 3;
  ctx.stroke();
  if (many) {
    // A second one behind it, so that a pile looks like one.
    ctx.beginPath();
    trace(ctx, x + 1.75, y - 1.75, r);
    ctx.strokeStyle = colours[colour];
    ctx.lineWidth = 1;
    ctx.stroke();
    ctx.beginPath();
    trace(ctx, x, y, r);
  }
  ctx.fillStyle = hollow ? colours.bg : colours[colour];
  ctx.fill();
  if (hollow) {
    ctx.strokeStyle = colours[colour];
    ctx.lineWidth = 1.75;
    ctx.stroke();
  }
}
