/** A whole frame, drawn onto a recorder: what the canvas would do, without a browser. */
import { LIGHT } from "../../src/canvas/colours";
import { Painter } from "../../src/canvas/draw";
import { EVERYTHING, Sieve } from "../../src/canvas/filter";
import type { Frame } from "../../src/canvas/frame";
import { layoutOf } from "../../src/canvas/layout";
import { Scene } from "../../src/canvas/lod";
import { axis, scaleOf } from "../../src/canvas/scales";
import { Tracks } from "../../src/canvas/tracks";
import { decode } from "../../src/data/decoder";
import { DensityRing, RowRing } from "../../src/data/ring";
import type { Lane, Open } from "../../src/protocol";
import type { Filter, Span } from "../../src/store";
import type { Interval, Row } from "../synthetic";
import { batchOf, lanesOf, NAMES } from "../synthetic";
import { PLAIN, recorder } from "./recorder";

export interface Options {
  rows?: Row[];
  intervals?: Interval[];
  open?: Open[];
  lanes?: Lane[];
  span: Span;
  width?: number;
  height?: number;
  now?: number;
  until?: number;
  filter?: Filter;
  scroll?: number;
  scene?: Scene;
  selection?: Span;
  saturatedSince?: number;
  focus?: Frame["focus"];
}

export function ringOf(rows: Row[]): RowRing {
  const ring = new RowRing();
  ring.append(decode(...batchOf({ data: rows })).rows);
  return ring;
}

export function picture(options: Options) {
  const { rows = [], intervals = [], open = [], span, width = 900, height = 300, filter = EVERYTHING } = options;
  const { until = Infinity, scroll = 0, scene = new Scene() } = options;
  const now = options.now ?? span.to;
  const lanes = options.lanes ?? lanesOf(4);
  const ring = ringOf(rows);
  const density = new DensityRing();
  density.append(decode(...batchOf({ intervals })).density);
  const tracks = new Tracks();
  tracks.update(ring);
  const layout = layoutOf(lanes, height, scroll, filter.lanes);
  const scale = scaleOf(span, 100, width - 100);
  const text = (name: number): string => NAMES[name] ?? "…";
  const sieve = new Sieve(filter, text);
  scene.build(ring, density, layout, scale, sieve, tracks, until);
  const { ctx, calls, named } = recorder();
  const painter = new Painter(LIGHT, PLAIN);
  const frame: Frame = {
    ...{ width, height, dpr: 1, rows: ring, lanes, open, text, now, until, layout, scale, scene, tracks },
    ...{ selection: options.selection ?? null, saturatedSince: options.saturatedSince ?? null, hover: null, focus: options.focus ?? null },
    axis: axis(span, width - 100, 1_760_000_000_000),
    lets: (lane, kind, outcome, name) => sieve.letsValues(lane, kind, outcome, name),
  };
  const drawn = painter.paint(ctx, frame);
  return { drawn, calls, named, scene, ring, layout, scale, sieve, tracks, frame, painter };
}
