/** All that one frame is made of, and what the surface that it is drawn on must be able to do. */
import type { Lane, Open } from "../protocol";
import type { Rows, Span } from "../store";
import type { Colours } from "./colours";
import type { Ctx } from "./glyphs";
import type { Layout } from "./layout";
import type { Scene } from "./lod";
import type { Axis, Scale } from "./scales";
import type { Tracks } from "./tracks";

/** What is in a frame. */
export interface Frame {
  width: number;
  height: number;
  dpr: number;
  rows: Rows;
  lanes: readonly Lane[];
  open: readonly Open[];
  text(name: number): string;
  now: number;
  /** Nothing later is shown. */
  until: number;
  saturatedSince: number | null;
  lets(lane: number, kind: number, outcome: number, name: number): boolean;
  layout: Layout;
  scale: Scale;
  axis: Axis;
  scene: Scene;
  tracks: Tracks;
  selection: Span | null;
  /** Numbers of rows (`rows.number(i)`), or ids of what runs. */
  hover: Mark | null;
  focus: Mark | null;
}

export interface Mark {
  open: boolean;
  number: number;
}

/** What a browser has and a test has not. */
export interface Surface {
  pattern(kind: "hatch" | "cross", ink: string, ctx: Ctx): CanvasPattern | null;
  image(bytes: Uint8ClampedArray, width: number, height: number): CanvasImageSource | null;
  sprite(kind: number, radius: number, many: boolean, colours: Colours): { image: CanvasImageSource; size: number } | null;
}
