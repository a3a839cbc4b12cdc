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
import { History } from "../../src/data/history";
import { DensityRing } from "../../src/data/ring";
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

export function ringOf(rows: Row[]): History {
  const ring = new History();
  ring.append(decode(...batchOf({ data: rows })).rows);
  return ring;
}

const known = new WeakMap<Row[], { ring: History; tracks: Tracks }>();

/** What the canvas sorts out before it draws. */
export function sceneOf(options: Options) {
  const { rows = [], intervals = [], span, width = 900, height = 300, filter = EVERYTHING } = options;
  const { until = Infinity, scroll = 0, scene = new Scene() } = options;
  let there = known.get(rows);
  if (there === undefined) {
    there = { ring: ringOf(rows), tracks: new Tracks() };
    there.tracks.update(there.ring);
    known.set(rows, there);
  }
  const { ring, tracks } = there;
  const density = new DensityRing(1000);
  density.append(decode(...batchOf({ intervals })).density);
  const layout = layoutOf(options.lanes ?? lanesOf(4), height, scroll, filter.lanes);
  const scale = scaleOf(span, 100, width - 100);
  const sieve = new Sieve(filter, text);
  scene.build(ring, density, layout, scale, sieve, tracks, until);
  return { scene, ring, tracks, layout, scale, sieve };
}

const text = (name: number): string => NAMES[name] ?? "…";

export function picture(options: Options) {
  const { open = [], span, width = 900, height = 300, until = Infinity } = options;
  const made = sceneOf(options);
  const { ctx, calls, named } = recorder();
  const painter = new Painter(LIGHT, PLAIN);
  const frame: Frame = {
    ...{ width, height, dpr: 1, rows: made.ring, open, text, until },
    ...{ layout: made.layout, scale: made.scale, scene: made.scene, tracks: made.tracks },
    ...{ lanes: options.lanes ?? lanesOf(4), now: options.now ?? span.to },
    ...{ selection: options.selection ?? null, saturatedSince: options.saturatedSince ?? null, hover: null, focus: options.focus ?? null },
    axis: axis(span, width - 100, 1_760_000_000_000),
    lets: (lane, kind, outcome, name) => made.sieve.letsValues(lane, kind, outcome, name),
  };
  return { ...made, drawn: painter.paint(ctx, frame), calls, named, frame };
}
