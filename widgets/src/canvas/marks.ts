/** Draws the markers: those of a worker's life in the middle of its lane with a line through it, the others at the edges. */
import { Kind } from "../protocol";
import type { Colours } from "./colours";
import type { Drawn } from "./drawn";
import type { Frame, Surface } from "./frame";
import { BY_WEIGHT, glyphOf, paintGlyph } from "./glyphs";
import type { Ctx } from "./glyphs";
import { SMALL } from "./lettering";
import { zeroed } from "./lists";
import { xOf } from "./scales";

/** So many places to the right are tried. */
const STEPS = 7;
/** In pixels. */
const DIGIT = 6;
/** What is taken of each lane's middle and upper edge, by the pixel; and where each marker goes. */
let taken = new Uint8Array(0);
let places = new Float32Array(0);

/** The size of a marker at a lane's lower edge tells bytes: from 2 px for up to a kilobyte to 5 px for a gigabyte. */
export function radiusOfBytes(bytes: number): number {
  if (!(bytes > 1024)) return 2;
  return Math.min(5, 2 + Math.log2(bytes / 1024) * 0.15);
}

export function drawMarks(ctx: Ctx, frame: Frame, drawn: Drawn, colours: Colours, surface: Surface): void {
  const { rows, layout, scale, scene, dpr } = frame;
  const wide = Math.ceil(scale.width) + 1;
  const { marks } = scene;
  const size = Math.min(5, Math.max(3.5, layout.laneHeight * 0.14));
  place(frame, size);
  ctx.imageSmoothingEnabled = false;
  for (const kind of BY_WEIGHT) {
    const glyph = glyphOf(kind);
    for (let m = 0; m < marks.length; m++) {
      if (marks.kind.data[m] !== kind) continue;
      const box = layout.boxes[marks.box.data[m]!]!;
      const count = marks.count.data[m]!;
      const x = places[m]!;
      let r = size;
      let y = box.y + box.height / 2;
      if (glyph.slot === "low") {
        const bytes = kind === Kind.PROGRESS ? 0 : marks.sum[m]!;
        r = Math.min(size, Math.round(radiusOfBytes(bytes) * 2) / 2);
        y = box.y + box.height - r - 1;
      } else if (glyph.slot === "high") y = box.y + r + 1;
      else {
        ctx.fillStyle = colours[glyph.colour];
        ctx.globalAlpha = 0.7;
        ctx.fillRect(exactly(frame, rows.t(marks.first.data[m]!)), box.y + 1, 1, box.height - 2);
        ctx.globalAlpha = 1;
      }
      const sprite = surface.sprite(kind, r, count > 1, colours);
      if (sprite === null) paintGlyph(ctx, kind, x, y, r, colours, count > 1);
      else {
        // On whole pixels of the screen it need not be smoothed.
        const half = sprite.size / 2;
        ctx.drawImage(sprite.image, snap(x - half, dpr), snap(y - half, dpr), sprite.size, sprite.size);
      }
      drawn.glyphs.push(x - r - 1, y - r - 1, x + r + 1, y + r + 1, marks.row.data[m]!, kind, count);
      if (count < 2 || glyph.slot === "low") continue;
      const text = `×${count}`;
      const [from, to] = [Math.ceil(x + r + 2 - scale.left), Math.ceil(x + r + 4 - scale.left + DIGIT * text.length)];
      const row = rowOf(frame, m, glyph.slot);
      if (!isFree(row, from, to, wide)) continue;
      take(row, from, to, wide);
      number(ctx, text, x + r + 3, y, colours);
    }
  }
}

/** Says where each glyph goes: what matters most where it belongs, the others beside it where that is taken. */
function place(frame: Frame, size: number): void {
  const { rows, scale, layout, scene } = frame;
  const { marks } = scene;
  const wide = Math.ceil(scale.width) + 1;
  taken = zeroed(taken, layout.boxes.length * 2 * wide, (n) => new Uint8Array(n));
  places = zeroed(places, marks.length, (n) => new Float32Array(n));
  for (let k = BY_WEIGHT.length - 1; k >= 0; k--) {
    const { slot, lean } = glyphOf(BY_WEIGHT[k]!);
    for (let m = 0; m < marks.length; m++) {
      if (marks.kind.data[m] !== BY_WEIGHT[k]) continue;
      const exact = exactly(frame, rows.t(marks.first.data[m]!)) - scale.left;
      places[m] = scale.left + (slot === "low" ? exact : aside(exact, size, lean, rowOf(frame, m, slot), wide));
    }
  }
}

/** Where in `taken` a lane's middle or upper edge begins. */
function rowOf(frame: Frame, mark: number, slot: "middle" | "high" | "low"): number {
  return (frame.scene.marks.box.data[mark]! * 2 + (slot === "middle" ? 0 : 1)) * (Math.ceil(frame.scale.width) + 1);
}

/** On a whole pixel; what began before the picture stands at its edge. */
function exactly(frame: Frame, t: number): number {
  return Math.round(Math.max(frame.scale.left, xOf(frame.scale, t)));
}

function snap(x: number, dpr: number): number {
  return Math.round(x * dpr) / dpr;
}

/**
 * The nearest free place, and takes it. Where something stands just after the moment already, this came of it and
 * goes after that: a crash, its recycling and the new worker's start are read from left to right.
 */
function aside(x: number, r: number, lean: number, row: number, wide: number): number {
  const reach = Math.ceil(r);
  const after = x + reach + 1;
  const followed = lean < 0 && !isFree(row, after - reach, after + reach, wide);
  // Nor is it cut off by the picture's edge.
  const begin = followed ? after : Math.max(reach + 1, x + lean * (reach + 1));
  for (let move = 0; move < STEPS; move++) {
    const at = begin + move * (2 * reach + 2);
    if (at >= wide || !isFree(row, at - reach, at + reach, wide)) continue;
    take(row, at - reach, at + reach, wide);
    return at;
  }
  return begin;
}

function isFree(row: number, from: number, to: number, wide: number): boolean {
  for (let c = Math.max(0, from); c <= Math.min(wide - 1, to); c++) if (taken[row + c] !== 0) return false;
  return true;
}

function take(row: number, from: number, to: number, wide: number): void {
  if (to >= 0 && from < wide) taken.fill(1, row + Math.max(0, from), row + Math.min(wide - 1, to) + 1);
}

function number(ctx: Ctx, text: string, x: number, y: number, colours: Colours): void {
  ctx.font = SMALL;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.lineJoin = "round";
  ctx.lineWidth = 3;
  ctx.strokeStyle = colours.bg;
  ctx.strokeText(text, x, y + 0.5);
  ctx.fillStyle = colours.fg;
  ctx.fillText(text, x, y + 0.5);
}
