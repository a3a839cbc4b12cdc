/**
 * One frame: grid, bars, sums, markers, the line of now, onto any 2D context; what it drew where is kept in `drawn`.
 *
 * Rule: an outcome shows in two ways. Beside its colour an error is hatched, a crash hatched crosswise, a timeout has
 * its end cut off, a cancelled request is hollow and one that runs has an open end; where a bar is too thin for that,
 * what failed has a flag above it.
 */
import { Kind, Outcome } from "../protocol";
import { inkOn } from "./colours";
import type { Colours } from "./colours";
import { Boxes, nothingDrawn } from "./drawn";
import type { Drawn } from "./drawn";
import type { Frame, Mark, Surface } from "./frame";
import type { Ctx } from "./glyphs";
import { drawAxis, drawGround, drawGutter, drawNow, drawSelection } from "./ground";
import type { Box } from "./layout";
import { AXIS_HEIGHT } from "./layout";
import { Lettering } from "./lettering";
import { CLASSES } from "./lod";
import { drawMarks } from "./marks";
import { heights, LAYERS, paletteOf, Pixels } from "./pixels";
import { xOf } from "./scales";

/** How high the strip of a span of the user's own is, with the gap to the next. */
const STRIP = 5;

export class Painter {
  readonly drawn: Drawn = nothingDrawn();
  private readonly pixels = new Pixels();
  private readonly tops = new Int32Array(CLASSES);
  private readonly letters = new Lettering();
  private readonly inks: string[];
  private readonly fills: string[];
  private readonly palette: Uint32Array;
  private hatch: CanvasPattern | null | undefined;
  private cross: CanvasPattern | null | undefined;

  constructor(
    readonly colours: Colours,
    private readonly surface: Surface,
  ) {
    const { running, ok, error, cancelled, timeout, crashed } = colours;
    this.fills = [running, ok, error, cancelled, timeout, crashed];
    this.inks = this.fills.map(inkOn);
    this.inks[Outcome.CANCELLED] = colours.fg;
    this.inks[Outcome.NONE] = colours.fg;
    this.palette = paletteOf(colours);
  }

  paint(ctx: Ctx, frame: Frame): Drawn {
    const { drawn, colours } = this;
    for (const boxes of [drawn.bars, drawn.spans, drawn.areas, drawn.open, drawn.glyphs]) boxes.clear();
    drawn.scale = frame.scale;
    drawn.layout = frame.layout;
    drawn.dense = frame.scene.dense;
    ctx.setTransform(frame.dpr, 0, 0, frame.dpr, 0, 0);
    drawGround(ctx, frame, colours);
    ctx.save();
    ctx.beginPath();
    ctx.rect(frame.scale.left, AXIS_HEIGHT, frame.scale.width, frame.height - AXIS_HEIGHT);
    ctx.clip();
    this.movePatterns(ctx, frame);
    this.drawAreas(ctx, frame);
    this.drawSums(ctx, frame);
    this.drawCells(ctx, frame);
    this.placeBars(frame);
    this.placeOpen(frame);
    this.drawWaits(ctx, frame);
    this.drawBars(ctx, frame);
    this.drawOpen(ctx, frame);
    this.drawYours(ctx, frame);
    drawMarks(ctx, frame, drawn, colours, this.surface);
    drawNow(ctx, frame, colours);
    this.drawOutline(ctx, frame, frame.hover, colours.fg, 1.5);
    this.drawOutline(ctx, frame, frame.focus, colours.focus, 2.5);
    drawSelection(ctx, frame, colours);
    ctx.restore();
    drawAxis(ctx, frame, colours);
    drawGutter(ctx, frame, colours, this.letters);
    return drawn;
  }

  /** The hatching lies still in time, not on the screen. */
  private movePatterns(ctx: Ctx, frame: Frame): void {
    if (this.hatch === undefined) this.hatch = this.surface.pattern("hatch", this.colours.bg, ctx);
    if (this.cross === undefined) this.cross = this.surface.pattern("cross", this.colours.bg, ctx);
    if (typeof DOMMatrix === "undefined") return;
    const moved = -Math.round(((frame.scale.from / frame.scale.spp) % 24) * frame.dpr) / frame.dpr;
    const matrix = new DOMMatrix([1 / frame.dpr, 0, 0, 1 / frame.dpr, moved, 0]);
    this.hatch?.setTransform(matrix);
    this.cross?.setTransform(matrix);
  }

  private drawAreas(ctx: Ctx, frame: Frame): void {
    const { rows, layout, scale, scene } = frame;
    const { areas } = scene;
    const reached = new Float32Array(layout.boxes.length * 2).fill(-1);
    for (let n = 0; n < areas.length; n++) {
      const i = areas.data[n]!;
      const at = layout.boxOf[rows.lane(i)]!;
      const box = layout.boxes[at]!;
      const kind = rows.kind(i);
      const x0 = Math.max(scale.left, xOf(scale, rows.t(i)));
      const x1 = Math.min(scale.left + scale.width, Math.max(x0 + 1, xOf(scale, rows.t(i) + rows.dur(i))));
      // One that is wholly under the one before it adds nothing to the picture.
      const seen = at * 2 + (kind === Kind.TAINTED ? 0 : 1);
      if (x1 <= reached[seen]!) continue;
      reached[seen] = x1;
      this.drawArea(ctx, kind, box, x0, x1, i);
    }
    const since = frame.saturatedSince;
    if (since === null || since > frame.until) return;
    const at = layout.boxOf[0] ?? -1;
    if (at < 0 || !frame.lets(0, Kind.SATURATED, Outcome.NONE, 0)) return;
    const x0 = Math.max(scale.left, xOf(scale, since));
    const x1 = Math.min(scale.left + scale.width, xOf(scale, frame.now));
    if (x1 > x0) this.drawArea(ctx, Kind.SATURATED, layout.boxes[at]!, x0, x1, -1);
  }

  private drawArea(ctx: Ctx, kind: number, box: Box, x0: number, x1: number, row: number): void {
    const { colours } = this;
    const y0 = box.y + 1;
    const y1 = box.y + box.height - 1;
    if (kind === Kind.TAINTED) {
      ctx.globalAlpha = 0.3;
      ctx.fillStyle = colours.tainted;
      ctx.fillRect(x0, y0, x1 - x0, y1 - y0);
      ctx.globalAlpha = 1;
      this.overlay(ctx, this.hatch, x0, y0, x1 - x0, y1 - y0);
    } else {
      ctx.globalAlpha = 0.45;
      ctx.fillStyle = colours.saturated;
      ctx.fillRect(x0, y0, x1 - x0, y1 - y0);
      ctx.globalAlpha = 1;
      ctx.fillStyle = colours.timeout;
      ctx.fillRect(x0, y0, x1 - x0, 2);
    }
    this.drawn.areas.push(x0, y0, x1, y1, row, kind);
  }

  private drawSums(ctx: Ctx, frame: Frame): void {
    const { layout, scale, scene, tracks } = frame;
    if (!scene.summed || layout.boxes.length === 0) return;
    const { columns } = scene;
    const levels = Math.max(4, Math.round(layout.boxes[0]!.barHeight));
    const lanes = layout.boxes.map((box) => tracks.count(box.lane.lane, 0));
    const left = Math.round(xOf(scale, columns.from));
    this.pixels.fill(columns, levels, this.palette, lanes);
    const image = this.surface.image(this.pixels.bytes, this.pixels.width, this.pixels.height);
    if (image === null) {
      this.drawSumsByHand(ctx, frame, levels, lanes, left);
      return;
    }
    ctx.imageSmoothingEnabled = false;
    layout.boxes.forEach((box, k) => {
      ctx.drawImage(image, 0, k * levels, columns.length, levels, left, box.barTop, columns.length, levels);
    });
  }

  /** Where pixels cannot be set: the same columns as rectangles. */
  private drawSumsByHand(ctx: Ctx, frame: Frame, levels: number, lanes: readonly number[], left: number): void {
    const { columns } = frame.scene;
    frame.layout.boxes.forEach((box, k) => {
      const ground = box.barTop + levels;
      for (let c = 0; c < columns.length; c++) {
        const at = columns.place(k, 0) + c;
        if (heights(columns.share, columns.count, at, columns.length, levels, lanes[k]!, this.tops) === 0) continue;
        let below = 0;
        LAYERS.forEach((outcome, layer) => {
          const top = this.tops[layer]!;
          if (top <= below) return;
          ctx.fillStyle = this.fills[outcome]!;
          ctx.fillRect(left + c, ground - top, 1, top - below);
          below = top;
        });
      }
    });
  }

  private drawCells(ctx: Ctx, frame: Frame): void {
    const { rows, layout, scene } = frame;
    for (let n = 0; n < scene.spans.length; n++) {
      const i = scene.spans.data[n]!;
      if (rows.kind(i) !== Kind.CELL) continue;
      const [x0, x1] = this.edges(frame, rows.t(i), rows.t(i) + rows.dur(i));
      const [y, height] = this.trackOf(frame, layout.boxes[layout.boxOf[rows.lane(i)]!]!, frame.tracks.of(rows.number(i)), 0);
      this.drawSpan(ctx, this.colours.cell, rows.outcome(i), i, x0, y, x1, height);
      this.letters.write(ctx, frame.text(rows.name(i)), x0, x1, y + height / 2, height, this.colours.fg, frame);
    }
  }

  /** Spans of the user's own: strips on the lower edge of the bar that they are part of, the inner ones below the outer ones. */
  private drawYours(ctx: Ctx, frame: Frame): void {
    const { rows, layout, scene } = frame;
    const yours = [...scene.spans.data.subarray(0, scene.spans.length)].filter((i) => rows.kind(i) === Kind.USER);
    // An outer span ends after its inner ones, so it comes later.
    yours.sort((a, b) => rows.t(a) - rows.t(b) || rows.dur(b) - rows.dur(a));
    const within = layout.boxes.map((): number[] => []);
    for (const i of yours) {
      const at = layout.boxOf[rows.lane(i)]!;
      const box = layout.boxes[at]!;
      const end = rows.t(i) + rows.dur(i);
      const outer = within[at]!;
      while (outer.length > 0 && outer[outer.length - 1]! <= rows.t(i)) outer.pop();
      const top = box.barTop + box.barHeight - STRIP;
      const deepest = Math.floor((box.y + box.height - top) / STRIP) - 1;
      const [x0, x1] = this.edges(frame, rows.t(i), end);
      const y = top + Math.min(outer.length, deepest) * STRIP;
      ctx.fillStyle = this.colours.bg;
      ctx.fillRect(x0 - 1, y - 1, x1 - x0 + 2, STRIP + 1);
      this.drawSpan(ctx, this.colours.user, rows.outcome(i), i, x0, y, x1, STRIP - 1);
      outer.push(end);
    }
  }

  private drawSpan(ctx: Ctx, colour: string, outcome: number, i: number, x0: number, y: number, x1: number, height: number): void {
    ctx.fillStyle = colour;
    ctx.fillRect(x0, y, x1 - x0, height);
    if (outcome > Outcome.OK) {
      ctx.fillStyle = this.fills[outcome] ?? this.colours.error;
      ctx.fillRect(x0, y + height - 3, x1 - x0, 3);
      this.overlay(ctx, this.hatch, x0, y + height - 3, x1 - x0, 3);
    }
    this.drawn.spans.push(x0, y, x1, y + height, i, outcome);
  }

  private placeBars(frame: Frame): void {
    const { rows, layout, scene, tracks } = frame;
    const { bars } = scene;
    for (let n = 0; n < bars.length; n++) {
      const i = bars.data[n]!;
      const box = layout.boxes[layout.boxOf[rows.lane(i)]!]!;
      const end = rows.t(i) + rows.dur(i);
      const runs = end > frame.until;
      const [x0, x1] = this.edges(frame, rows.t(i), Math.min(end, frame.until));
      const [y, height] = this.trackOf(frame, box, tracks.of(rows.number(i)), 0);
      const outcome = rows.outcome(i);
      this.drawn.bars.push(x0, y, x1, y + height, i, runs || outcome >= CLASSES ? Outcome.NONE : outcome);
    }
  }

  private placeOpen(frame: Frame): void {
    const { open, layout, scale } = frame;
    const placed = frame.tracks.ofOpen(open);
    const end = Math.min(frame.now, frame.until);
    open.forEach(([, lane, name, , t], n) => {
      const box = layout.boxes[layout.boxOf[lane] ?? -1];
      if (box === undefined || t > Math.min(scale.to, end) || end < scale.from) return;
      if (!frame.lets(lane, Kind.REQUEST, Outcome.NONE, name)) return;
      const [x0, x1] = this.edges(frame, t, end);
      // Among sums only one that runs for long has a bar.
      if (frame.scene.dense && x1 - x0 < 3) return;
      const [y, height] = this.trackOf(frame, box, placed[n]!, placed[n]! + 1);
      this.drawn.open.push(x0, y, x1, y + height, n, Outcome.NONE);
    });
  }

  /** The wait before a request: a thin line above the lane's bars that ends where its bar begins. */
  private drawWaits(ctx: Ctx, frame: Frame): void {
    const { rows, open, scale } = frame;
    const line = (x0: number, y: number, outcome: number, wait: number): void => {
      const width = wait / scale.spp;
      if (!(width >= 1)) return;
      const begin = Math.max(scale.left - 2, x0 - width);
      ctx.fillStyle = this.fills[outcome]!;
      ctx.fillRect(begin, y - 2.5, x0 - begin + 1, 1.5);
      ctx.fillRect(x0, y - 2.5, 1, 2.5);
    };
    ctx.globalAlpha = 0.5;
    const { bars } = this.drawn;
    for (let n = 0; n < bars.length; n++) line(bars.x0.data[n]!, bars.y0.data[n]!, bars.look.data[n]!, rows.extra(bars.what.data[n]!));
    const running = this.drawn.open;
    for (let n = 0; n < running.length; n++) line(running.x0.data[n]!, running.y0.data[n]!, Outcome.NONE, open[running.what.data[n]!]![5]);
    ctx.globalAlpha = 1;
  }

  private drawBars(ctx: Ctx, frame: Frame): void {
    const { bars } = this.drawn;
    const { rows } = frame;
    for (let outcome = 0; outcome < CLASSES; outcome++) {
      for (let n = 0; n < bars.length; n++) {
        if (bars.look.data[n] !== outcome) continue;
        const x0 = bars.x0.data[n]!;
        const y0 = bars.y0.data[n]!;
        this.drawBar(ctx, outcome, x0, y0, bars.x1.data[n]! - x0, bars.y1.data[n]! - y0);
      }
    }
    for (let n = 0; n < bars.length; n++) {
      const [x0, x1] = [bars.x0.data[n]!, bars.x1.data[n]!];
      if (x1 - x0 < 28) continue;
      const [y0, y1] = [bars.y0.data[n]!, bars.y1.data[n]!];
      const ink = this.inks[bars.look.data[n]!]!;
      this.letters.write(ctx, frame.text(rows.name(bars.what.data[n]!)), x0, x1, (y0 + y1) / 2, y1 - y0, ink, frame);
    }
  }

  private drawBar(ctx: Ctx, outcome: number, x: number, y: number, width: number, height: number): void {
    const fill = this.fills[outcome]!;
    ctx.fillStyle = fill;
    if (outcome === Outcome.CANCELLED || outcome === Outcome.NONE) ctx.globalAlpha = 0.35;
    ctx.fillRect(x, y, width, height);
    ctx.globalAlpha = 1;
    if (outcome === Outcome.OK) return;
    if (outcome === Outcome.NONE) {
      ctx.fillRect(x + width - Math.min(2, width), y, Math.min(2, width), height);
      return;
    }
    if (outcome === Outcome.CANCELLED) {
      if (width < 3) return ctx.fillRect(x, y, width, height);
      ctx.strokeStyle = fill;
      ctx.lineWidth = 1;
      ctx.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
      return;
    }
    if (width < 7) {
      ctx.fillStyle = this.colours.fg;
      ctx.fillRect(x, y - 3, Math.max(2, width), 2);
      return;
    }
    if (outcome === Outcome.ERROR) this.overlay(ctx, this.hatch, x, y, width, height);
    else if (outcome === Outcome.CRASHED) this.overlay(ctx, this.cross, x, y, width, height);
    else {
      const cut = Math.min(width - 2, height * 0.6, 9);
      ctx.fillStyle = this.colours.bg;
      ctx.beginPath();
      ctx.moveTo(x + width, y);
      ctx.lineTo(x + width - cut, y + height / 2);
      ctx.lineTo(x + width, y + height);
      ctx.closePath();
      ctx.fill();
    }
  }

  private drawOpen(ctx: Ctx, frame: Frame): void {
    const { open } = this.drawn;
    for (let n = 0; n < open.length; n++) {
      const [x0, y0, x1, y1] = [open.x0.data[n]!, open.y0.data[n]!, open.x1.data[n]!, open.y1.data[n]!];
      this.drawBar(ctx, Outcome.NONE, x0, y0, x1 - x0, y1 - y0);
      const name = frame.text(frame.open[open.what.data[n]!]![2]);
      this.letters.write(ctx, name, x0, x1, (y0 + y1) / 2, y1 - y0, this.colours.fg, frame);
    }
  }

  private drawOutline(ctx: Ctx, frame: Frame, mark: Mark | null, colour: string, width: number): void {
    if (mark === null) return;
    const outline = (boxes: Boxes, is: (what: number) => boolean): boolean => {
      for (let n = 0; n < boxes.length; n++) {
        if (!is(boxes.what.data[n]!)) continue;
        const x0 = boxes.x0.data[n]!;
        const y0 = boxes.y0.data[n]!;
        ctx.strokeStyle = colour;
        ctx.lineWidth = width;
        ctx.strokeRect(x0 - 1, y0 - 1, boxes.x1.data[n]! - x0 + 2, boxes.y1.data[n]! - y0 + 2);
        return true;
      }
      return false;
    };
    const { bars, spans, areas, open, glyphs } = this.drawn;
    if (mark.open) {
      outline(open, (what) => frame.open[what]![0] === mark.number);
      return;
    }
    const row = frame.rows.index(mark.number);
    if (row >= 0 && [glyphs, bars, spans, areas].some((boxes) => outline(boxes, (what) => what === row))) return;
    this.outlineHidden(ctx, frame, row, colour, width);
  }

  /** What has no place of its own in this frame, for it is in a sum or in a pile, still shows where it is. */
  private outlineHidden(ctx: Ctx, frame: Frame, row: number, colour: string, width: number): void {
    const { rows, layout, scale } = frame;
    if (row < 0) return;
    const box = layout.boxes[layout.boxOf[rows.lane(row)] ?? -1];
    const end = rows.t(row) + rows.dur(row);
    if (box === undefined || end < scale.from || rows.t(row) > scale.to) return;
    const [x0, x1] = this.edges(frame, rows.t(row), end);
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.strokeRect(x0 - 1.5, box.barTop - 1.5, Math.max(2, x1 - x0) + 3, box.barHeight + 3);
  }

  private overlay(ctx: Ctx, pattern: CanvasPattern | null | undefined, x: number, y: number, width: number, height: number): void {
    if (!pattern) return;
    ctx.fillStyle = pattern;
    ctx.fillRect(x, y, width, height);
  }

  /** A bar's edges on whole pixels of the screen, never less than one apart; a wide one leaves a gap to the next. */
  private edges(frame: Frame, begin: number, end: number): [number, number] {
    const { scale, dpr } = frame;
    const left = scale.left - 4;
    const right = scale.left + scale.width + 4;
    const x0 = Math.round(Math.min(right, Math.max(left, xOf(scale, begin))) * dpr) / dpr;
    const x1 = Math.round(Math.min(right, Math.max(left, xOf(scale, end))) * dpr) / dpr;
    return [x0, Math.max(x0 + 1, x1 - x0 > 4 ? x1 - 1 : x1)];
  }

  private trackOf(frame: Frame, box: Box, track: number, open: number): [number, number] {
    const tracks = frame.tracks.count(box.lane.lane, open);
    if (tracks === 1) return [box.barTop, box.barHeight];
    const each = box.barHeight / tracks;
    return [box.barTop + Math.min(track, tracks - 1) * each, Math.max(1, each - (each > 5 ? 1 : 0))];
  }
}
