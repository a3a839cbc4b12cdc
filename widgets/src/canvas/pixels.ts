/** The sums of a lane's columns as pixels: how high is how busy, which colour is how it ended, what failed on top. */
import { Outcome } from "../protocol";
import { channels } from "./colours";
import type { Colours } from "./colours";
import { CLASSES } from "./lod";
import type { Columns } from "./lod";

/** From the ground up. */
const STACK = [Outcome.OK, Outcome.NONE, Outcome.CANCELLED, Outcome.TIMEOUT, Outcome.CRASHED, Outcome.ERROR] as const;
/** So many pixels at least where anything ended so, however short it was. */
const LEAST = [1, 1, 2, 2, 3, 3] as const;

const ALL = new Uint8Array(CLASSES).fill(1);

export class Pixels {
  width = 0;
  height = 0;
  /** Red, green, blue, alpha of each, row by row; a lane's `levels` rows below the other's. */
  bytes = new Uint8ClampedArray(0);
  private words = new Uint32Array(0);
  private readonly tops = new Int32Array(CLASSES);

  /** `tracks`: how many at once make a lane wholly busy. */
  fill(columns: Columns, levels: number, palette: Uint32Array, tracks: readonly number[]): void {
    this.width = columns.length;
    this.height = columns.boxes * levels;
    const size = this.width * this.height;
    if (this.words.length !== size) {
      this.words = new Uint32Array(size);
      this.bytes = new Uint8ClampedArray(this.words.buffer);
    } else this.words.fill(0);
    for (let box = 0; box < columns.boxes; box++) this.fillLane(columns, box, levels, palette, tracks[box] ?? 1);
  }

  private fillLane(columns: Columns, box: number, levels: number, palette: Uint32Array, tracks: number): void {
    const { words, width, tops } = this;
    const { share, count } = columns;
    const begin = columns.place(box, 0);
    const used = columns.used.subarray(box * CLASSES, (box + 1) * CLASSES);
    for (let c = 0; c < width; c++) {
      if (heights(share, count, begin + c, width, levels, tracks, tops, used) === 0) continue;
      let level = 0;
      for (let k = 0; k < CLASSES; k++) {
        const colour = palette[STACK[k]!]!;
        const top = tops[k]!;
        for (; level < top; level++) words[(box * levels + levels - 1 - level) * width + c] = colour;
      }
    }
  }
}

/** Fills in where each layer ends, from the ground up, and says how high all of them are. What failed is never squeezed out. */
export function heights(
  share: Float32Array,
  count: Uint32Array,
  at: number,
  stride: number,
  levels: number,
  tracks: number,
  tops: Int32Array,
  used: Uint8Array = ALL,
): number {
  let total = 0;
  for (let k = 0; k < CLASSES; k++) {
    tops[k] = total;
    if (used[STACK[k]!] === 0) continue;
    const place = at + STACK[k]! * stride;
    const exact = (share[place]! * levels) / tracks;
    let height = Math.round(exact);
    if (height < LEAST[k]! && (count[place]! > 0 || exact > 0.02 * levels)) height = LEAST[k]!;
    total += height;
    tops[k] = total;
  }
  const over = total - levels;
  if (over <= 0) return total;
  // The lower layers give way.
  for (let k = 0; k < CLASSES; k++) tops[k] = Math.max(0, tops[k]! - over);
  return levels;
}

/** A word of each outcome's colour, in whatever order this host stores bytes. */
export function paletteOf(colours: Colours): Uint32Array {
  const names = [colours.running, colours.ok, colours.error, colours.cancelled, colours.timeout, colours.crashed];
  const bytes = new Uint8Array(names.flatMap((colour) => [...channels(colour), 255]));
  return new Uint32Array(bytes.buffer);
}

export const LAYERS: readonly number[] = STACK;
