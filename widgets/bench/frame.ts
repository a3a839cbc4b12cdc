/** What one frame costs without the browser's own drawing: rows sorted, columns summed, every call to the context counted. */
import { LIGHT } from "../src/canvas/colours";
import { Painter } from "../src/canvas/draw";
import { EVERYTHING, Sieve } from "../src/canvas/filter";
import type { Surface } from "../src/canvas/frame";
import type { Ctx } from "../src/canvas/glyphs";
import { layoutOf } from "../src/canvas/layout";
import { Scene } from "../src/canvas/lod";
import { axis, scaleOf } from "../src/canvas/scales";
import { Tracks } from "../src/canvas/tracks";
import { decode } from "../src/data/decoder";
import { DensityRing, RowRing } from "../src/data/ring";
import { batchOf, lanesOf, life, NAMES } from "../tests/synthetic";

const WARM = 30;
const FRAMES = 120;
const LEFT = 112;
const WIDTH = 1200;

const METHODS = [
  ...["setTransform", "save", "restore", "beginPath", "rect", "clip", "fillRect", "strokeRect", "fill", "stroke", "moveTo", "lineTo"],
  ...["closePath", "arc", "fillText", "strokeText", "drawImage"],
];

function counting(): { ctx: Ctx; counts: Map<string, number> } {
  const counts = new Map<string, number>();
  const ctx: Record<string, unknown> = { measureText: (text: string) => ({ width: 6 * text.length }) };
  for (const name of METHODS) ctx[name] = () => void counts.set(name, (counts.get(name) ?? 0) + 1);
  return { ctx: ctx as unknown as Ctx, counts };
}

const STAMP = {} as CanvasImageSource;
const surface: Surface = { pattern: () => null, image: () => STAMP, sprite: () => ({ image: STAMP, size: 20 }) };

function measure(title: string, workers: number, mean: number, span: { from: number; to: number }, height = 400): void {
  const { rows, open } = life({ seed: 1, workers, seconds: 60, mean, trouble: 0.005 });
  const data = rows.slice(-100_000);
  const [batch, buffers] = batchOf({ data });
  const ring = new RowRing();
  let begin = performance.now();
  ring.append(decode(batch, buffers).rows);
  const append = performance.now() - begin;
  const tracks = new Tracks();
  begin = performance.now();
  tracks.update(ring);
  const place = performance.now() - begin;
  const [density, scene, painter] = [new DensityRing(), new Scene(), new Painter(LIGHT, surface)];
  const layout = layoutOf(lanesOf(workers), height, 0, new Set());
  const { ctx, counts } = counting();
  const text = (name: number): string => NAMES[name] ?? "…";
  const times: number[] = [];
  const sorts: number[] = [];
  // The process's own time too: on a machine that others share, the clock tells of them as well.
  let used = process.cpuUsage();
  for (let n = -WARM; n < FRAMES; n++) {
    if (n === 0) used = process.cpuUsage();
    counts.clear();
    // A picture that moves, as it does while it follows.
    const shown = { from: span.from + n * 1e-3, to: span.to + n * 1e-3 };
    const scale = scaleOf(shown, LEFT, WIDTH - LEFT);
    const start = performance.now();
    const sieve = new Sieve(EVERYTHING, text);
    scene.build(ring, density, layout, scale, sieve, tracks);
    const sorted = performance.now();
    painter.paint(ctx, {
      ...{ width: WIDTH, height, dpr: 1, rows: ring, lanes: [], open, text, now: 60, until: Infinity, saturatedSince: null },
      ...{ layout, scale, scene, tracks, selection: null, hover: null, focus: null },
      axis: axis(shown, scale.width, 1.76e12),
      lets: () => true,
    });
    if (n < 0) continue;
    times.push(performance.now() - start);
    sorts.push(sorted - start);
  }
  const { user, system } = process.cpuUsage(used);
  const middle = (values: number[], share: number): string => [...values].sort((a, b) => a - b)[Math.floor(values.length * share)]!.toFixed(2);
  const calls = [...counts.values()].reduce((sum, count) => sum + count, 0);
  console.log(
    `${title}: ${data.length} rows, ${scene.requests} requests in view${scene.dense ? " (summed)" : ""}, ${scene.marks.length} markers; ` +
      `frame ${middle(times, 0)} ms at its quickest, median ${middle(times, 0.5)}, p95 ${middle(times, 0.95)} (of it level of detail ${middle(sorts, 0)} at its quickest), ${((user + system) / FRAMES / 1000).toFixed(2)} ms of processor time each; ` +
      `${calls} calls to the context; taking all rows in ${append.toFixed(1)} ms, tracks ${place.toFixed(1)} ms`,
  );
}

measure("16 lanes, all of 100,000 rows", 16, 0.0075, { from: 0, to: 60 });
measure("16 lanes, a second of them", 16, 0.0075, { from: 40, to: 41 });
measure("32 lanes, all of 100,000 rows", 32, 0.015, { from: 0, to: 60 }, 620);
measure("8 lanes, 2,500 bars", 8, 0.19, { from: 0, to: 60 });
