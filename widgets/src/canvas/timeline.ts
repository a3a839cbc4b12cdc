/**
 * The timeline on its canvas: which span is shown, what the hands do with it, and when it must be drawn again.
 *
 * Rule: it draws when `draw` is called and something is another than it was: the data, the span, the pointer, the size,
 * the theme, or the time by a pixel. It has no loop of its own.
 * Rule: the canvas is for eyes only (`aria-hidden`); the table of events is its twin.
 */
import type { Open } from "../protocol";
import type { Filter, Hit, Span, Store } from "../store";
import { readColours, sameColours } from "./colours";
import { Painter } from "./draw";
import { EVERYTHING, Sieve } from "./filter";
import { Focus } from "./focus";
import type { Frame, Mark } from "./frame";
import { listen } from "./gestures";
import type { Hands } from "./gestures";
import { hitTest } from "./hit";
import type { Layout } from "./layout";
import { layoutOf, mostScroll, ordered } from "./layout";
import { Scene } from "./lod";
import type { Scale } from "./scales";
import { axis, scaleOf, SHORTEST, timeOf, xOf, zoomed } from "./scales";
import { step } from "./steps";
import type { Step, Stop } from "./steps";
import { BrowserSurface } from "./surface";
import { Tracks } from "./tracks";

/** Milliseconds between looks at the host's style. */
const LOOK = 500;
/** Milliseconds between frames that only the passing of time asks for; and how many times what a frame costs. */
const PACE = 33;
const LEISURE = 3;
const SLOWEST = 250;

export class TimelineCanvas {
  onhover: (hit: Hit | null) => void = () => {};
  onpick: (hit: Hit) => void = () => {};
  onselect: (span: Span | null) => void = () => {};
  onview: () => void = () => {};

  private readonly canvas: HTMLCanvasElement;
  private readonly ctx: CanvasRenderingContext2D | null;
  private readonly scene = new Scene();
  private readonly tracks = new Tracks();
  private readonly observers: { disconnect(): void }[] = [];
  private readonly ears: (() => void)[] = [];
  private readonly still: MediaQueryList | null;
  private painter: Painter;
  private sieve: Sieve;
  private layout: Layout;
  private shown: Span = { from: 0, to: 60 };
  private follows = true;
  private seconds = 60;
  private pausedAt: number | null = null;
  private sifted: Filter = EVERYTHING;
  private selected: Span | null = null;
  private readonly focus: Focus;
  private hover: Mark | null = null;
  private pointer: { x: number; y: number } | null = null;
  private scrolled = 0;
  private width = 0;
  private height = 0;
  private dpr = 1;
  private seen = true;
  private dirty = true;
  private drawnVersion = -1;
  private drawnNow = -Infinity;
  private drawnAt = -Infinity;
  private lookedAt = -Infinity;
  /** Of a frame, in milliseconds. */
  private cost = 0;

  constructor(
    private readonly host: HTMLElement,
    private readonly store: Store,
  ) {
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    // Up and down stay the page's for a finger.
    this.canvas.style.cssText = "position:absolute;inset:0;width:100%;height:100%;display:block;touch-action:pan-y;cursor:default";
    if (getComputedStyle(host).position === "static") host.style.position = "relative";
    host.append(this.canvas);
    this.ctx = this.canvas.getContext("2d", { alpha: false });
    this.still = typeof matchMedia === "function" ? matchMedia("(prefers-reduced-motion: reduce)") : null;
    this.painter = new Painter(readColours(host), new BrowserSurface(this.dpr));
    this.focus = new Focus(store);
    this.sieve = new Sieve(EVERYTHING, (name) => store.text(name));
    this.layout = layoutOf([], 0, 0, EVERYTHING.lanes);
    this.ears.push(listen(this.canvas, this.hands()));
    const again = (): void => this.touch();
    this.canvas.addEventListener("contextrestored", again);
    this.watch();
    this.measure();
  }

  get span(): Span {
    return this.shown;
  }
  /** Shows just this, and follows no more. */
  set span(span: Span) {
    this.follows = false;
    this.show(span);
  }

  get follow(): boolean {
    return this.follows;
  }
  set follow(on: boolean) {
    this.follows = on;
    if (on) this.pausedAt = null;
    this.touch();
  }

  get paused(): boolean {
    return this.pausedAt !== null;
  }
  /** The picture stands: what comes later is kept, and shown when it goes on. */
  set paused(on: boolean) {
    this.pausedAt = on ? (this.pausedAt ?? this.store.now()) : null;
    this.touch();
  }

  get window(): number {
    return this.seconds;
  }
  set window(seconds: number) {
    this.seconds = Math.max(SHORTEST, seconds);
    this.touch();
  }

  /** Where time is drawn: the charts below begin and end with it. In CSS pixels. */
  get plot(): { left: number; width: number } {
    const { left, width } = this.scale();
    return { left, width };
  }

  get filter(): Filter {
    return this.sifted;
  }
  set filter(filter: Filter) {
    this.sifted = filter;
    this.drawnVersion = -1;
    this.touch();
  }

  get selection(): Span | null {
    return this.selected;
  }
  set selection(span: Span | null) {
    this.selected = span;
    this.touch();
  }

  /** As of now: a row's index changes while rows come, so ask again rather than keep it. */
  get focused(): Hit | null {
    const stop = this.focus.now();
    return stop === null ? null : this.hitOf(stop);
  }
  set focused(hit: Hit | null) {
    const { rows } = this.store;
    if (hit === null) this.focus.set(null);
    else if (hit.open !== null) this.focus.set({ row: -1, open: hit.open, lane: hit.open[1], t: hit.open[4] });
    else if (hit.row >= 0 && hit.row < rows.length) {
      this.focus.set({ row: hit.row, open: null, lane: rows.lane(hit.row), t: rows.t(hit.row) });
    }
    this.touch();
  }

  /** Draws, if anything is another than it was drawn. */
  draw(): void {
    const here = performance.now();
    this.look(here);
    const now = this.pausedAt ?? this.store.now();
    if (this.follows) this.followTo(now);
    const { version } = this.store;
    const came = version !== this.drawnVersion && this.pausedAt === null;
    const moved = Math.abs(now - this.drawnNow) >= this.scale().spp && this.drawnNow < this.shown.to && now > this.shown.from;
    const due = moved && here - this.drawnAt >= this.pace() && !this.still?.matches;
    if (!this.seen || this.width < 2 || this.height < 2 || !(this.dirty || came || due)) return;
    this.dirty = false;
    this.drawnVersion = version;
    this.drawnNow = now;
    this.drawnAt = here;
    this.paint(now);
    this.cost += (performance.now() - here - this.cost) * 0.2;
    if (this.pointer !== null) this.hoverAt(this.pointer.x, this.pointer.y);
  }

  /** Above 1 is nearer. While it follows, the window becomes another and now stays at its edge. */
  zoom(factor: number, at?: number): void {
    if (this.follows) {
      const now = this.shown.to;
      const span = zoomed({ from: now - this.seconds, to: now }, factor, now);
      this.seconds = span.to - span.from;
      this.touch();
    } else this.show(zoomed(this.shown, factor, at ?? (this.shown.from + this.shown.to) / 2));
    this.onview();
  }

  pan(seconds: number): void {
    this.follows = false;
    this.show({ from: this.shown.from + seconds, to: this.shown.to + seconds });
    this.onview();
  }

  /** Everything that is known, from the first to now. */
  fit(): void {
    const { rows, density, open } = this.store;
    const now = this.pausedAt ?? this.store.now();
    let from = Infinity;
    let to = now;
    for (let i = 0; i < rows.length; i++) {
      from = Math.min(from, rows.t(i));
      to = Math.max(to, Math.min(rows.t(i) + rows.dur(i), now));
    }
    for (let i = 0; i < density.length; i++) from = Math.min(from, density.t(i));
    for (const one of open) from = Math.min(from, one[4]);
    if (!Number.isFinite(from)) from = now - this.seconds;
    const margin = Math.max((to - from) * 0.01, SHORTEST);
    this.follows = false;
    this.show({ from: from - margin, to: to + margin });
    this.onview();
  }

  /** By keyboard; where nothing is focused, to the newest in view. */
  move(where: Step): Hit | null {
    const { rows, open } = this.store;
    this.refreshSieve();
    const lanes = this.lanesShown();
    const stop = step({ rows, open, sieve: this.sieve, lanes }, this.focus.now(), where, this.shown.to);
    if (stop === null) return null;
    this.focus.set(stop);
    this.reveal(stop);
    this.touch();
    this.onview();
    return this.hitOf(stop);
  }

  /** The picture as it is drawn now. */
  png(): Promise<Blob> {
    if (this.width >= 2 && this.height >= 2) this.paint(this.pausedAt ?? this.store.now());
    return new Promise((resolve, reject) => {
      this.canvas.toBlob((blob) => (blob === null ? reject(new Error("The picture is empty.")) : resolve(blob)), "image/png");
    });
  }

  dispose(): void {
    for (const observer of this.observers) observer.disconnect();
    for (const end of this.ears) end();
    this.canvas.remove();
  }

  private hands(): Hands {
    return {
      drag: (x, y) => {
        if (y !== 0) this.scrollBy(-y);
        if (x !== 0) this.pan(-x * this.scale().spp);
      },
      zoomAt: (factor, x) => this.zoom(factor, timeOf(this.scale(), x)),
      scroll: (y) => this.scrollBy(y),
      select: (from, to, done) => {
        const scale = this.scale();
        const clamp = (x: number): number => Math.min(scale.left + scale.width, Math.max(scale.left, x));
        const [a, b] = [timeOf(scale, clamp(Math.min(from, to))), timeOf(scale, clamp(Math.max(from, to)))];
        this.selected = b - a >= 2 * scale.spp ? { from: a, to: b } : null;
        this.touch();
        if (done || this.selected !== null) this.onselect(this.selected);
      },
      pick: (x, y) => {
        const hit = this.hitAt(x, y);
        this.focused = hit;
        if (hit !== null) this.onpick(hit);
      },
      fit: () => this.fit(),
      point: (at) => {
        this.pointer = at;
        if (at === null) this.hoverOn(null, null);
        else this.hoverAt(at.x, at.y);
      },
      focused: () => {
        const root = this.host.getRootNode() as Document | ShadowRoot;
        const active = root.activeElement ?? null;
        return active !== null && this.host.contains(active);
      },
      focus: () => this.host.focus({ preventScroll: true }),
    };
  }

  private watch(): void {
    if (typeof ResizeObserver === "function") {
      const size = new ResizeObserver(() => this.measure());
      size.observe(this.host);
      this.observers.push(size);
    }
    if (typeof IntersectionObserver === "function") {
      // A canvas that was taken out of the page and put back is blank: what comes into view is drawn anew.
      const view = new IntersectionObserver((entries) => {
        this.seen = entries.at(-1)!.isIntersecting;
        if (this.seen) this.touch();
      });
      view.observe(this.canvas);
      this.observers.push(view);
    }
  }

  private measure(): void {
    const dpr = globalThis.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.host;
    const [pixels, lines] = [Math.round(width * dpr), Math.round(height * dpr)];
    this.width = width;
    this.height = height;
    if (dpr !== this.dpr) {
      this.dpr = dpr;
      this.painter = new Painter(this.painter.colours, new BrowserSurface(dpr));
    }
    if (this.canvas.width !== pixels) this.canvas.width = pixels;
    if (this.canvas.height !== lines) this.canvas.height = lines;
    this.touch();
  }

  /** The theme may have changed, or the screen. */
  private look(here: number): void {
    if (here - this.lookedAt < LOOK) return;
    this.lookedAt = here;
    const colours = readColours(this.host);
    if (!sameColours(colours, this.painter.colours)) {
      this.painter = new Painter(colours, new BrowserSurface(this.dpr));
      this.touch();
    }
    if ((globalThis.devicePixelRatio || 1) !== this.dpr) this.measure();
  }

  private paint(now: number): void {
    const { ctx, store } = this;
    if (ctx === null) return;
    const until = this.pausedAt ?? Infinity;
    this.refreshSieve();
    this.tracks.update(store.rows);
    this.layout = layoutOf(store.lanes, this.height, this.scrolled, this.sifted.lanes);
    const most = mostScroll(this.layout);
    if (this.scrolled > most) {
      this.scrolled = most;
      this.layout = layoutOf(store.lanes, this.height, most, this.sifted.lanes);
    }
    const scale = this.scale();
    this.scene.build(store.rows, store.density, this.layout, scale, this.sieve, this.tracks, until);
    const focus = this.focus.now() === null ? null : this.focus.mark;
    const frame: Frame = {
      ...{ width: this.width, height: this.height, dpr: this.dpr, now, until },
      ...{ rows: store.rows, lanes: store.lanes, open: store.open },
      ...{ layout: this.layout, scale, scene: this.scene, tracks: this.tracks },
      ...{ selection: this.selected, hover: this.hover, focus },
      axis: axis(this.shown, scale.width, store.originMs),
      text: (name) => store.text(name),
      lets: (lane, kind, outcome, name) => this.sieve.letsValues(lane, kind, outcome, name),
      saturatedSince: store.summary?.saturated_since ?? null,
    };
    this.painter.paint(ctx, frame);
  }

  private scale(): Scale {
    const left = this.width < 480 ? 72 : 112;
    return scaleOf(this.shown, left, this.width - left);
  }

  private followTo(now: number): void {
    // Whole pixels, or with reduced motion whole seconds, so that the picture moves as a whole and does not shimmer.
    const spp = this.seconds / Math.max(1, this.scale().width);
    const unit = this.still?.matches ? Math.max(1, spp) : spp;
    const to = Math.ceil(now / unit) * unit;
    if (to === this.shown.to && Math.abs(to - this.shown.from - this.seconds) < spp / 2) return;
    this.shown = { from: to - this.seconds, to };
    if (performance.now() - this.drawnAt >= this.pace()) this.touch();
  }

  private pace(): number {
    return Math.min(SLOWEST, Math.max(PACE, LEISURE * this.cost));
  }

  private show(span: Span): void {
    if (!(span.to - span.from > 0) || !Number.isFinite(span.from) || !Number.isFinite(span.to)) return;
    this.shown = zoomed(span, 1, (span.from + span.to) / 2);
    this.touch();
  }

  private scrollBy(y: number): void {
    this.scrolled = Math.min(mostScroll(this.layout), Math.max(0, this.scrolled + y));
    this.touch();
  }

  private touch(): void {
    this.dirty = true;
  }

  /** What the sieve remembers of names holds while filter and dictionary stay. */
  private refreshSieve(): void {
    this.sieve = new Sieve(this.sifted, (name) => this.store.text(name));
  }

  private lanesShown(): number[] {
    const { lanes } = this.sifted;
    return ordered(this.store.lanes).map(({ lane }) => lane).filter((lane) => lanes.size === 0 || lanes.has(lane));
  }

  private hitAt(x: number, y: number): Hit | null {
    // Rows that came since have other indices: what is under the pointer is looked up in a picture of now.
    if (this.drawnVersion !== this.store.version && this.width >= 2 && this.height >= 2) {
      this.drawnVersion = this.store.version;
      this.paint(this.pausedAt ?? this.store.now());
    }
    return hitTest(this.painter.drawn, this.store.rows, this.store.open, this.sieve, x, y);
  }

  private hoverAt(x: number, y: number): void {
    const hit = this.hitAt(x, y);
    const { rows } = this.store;
    if (hit === null) this.hoverOn(null, null);
    else this.hoverOn(hit.open === null ? { open: false, number: rows.number(hit.row) } : { open: true, number: hit.open[0] }, hit);
  }

  private hoverOn(mark: Mark | null, hit: Hit | null): void {
    const same = mark?.open === this.hover?.open && mark?.number === this.hover?.number;
    if (mark === null && this.hover === null) return;
    this.hover = mark;
    this.canvas.style.cursor = mark === null ? "default" : "pointer";
    if (!same) this.touch();
    this.onhover(hit);
  }

  private hitOf(stop: Stop): Hit {
    const scale = this.scale();
    const box = this.layout.boxes[this.layout.boxOf[stop.lane] ?? -1];
    const x = Math.min(scale.left + scale.width, Math.max(scale.left, xOf(scale, stop.t)));
    const y = box === undefined ? this.height / 2 : box.y + box.height / 2;
    return { row: stop.row, open: stop.open as Open | null, count: 1, x, y };
  }

  /** Brings it into view, and no further than that. */
  private reveal(stop: Stop): void {
    const length = this.shown.to - this.shown.from;
    const end = stop.row < 0 ? stop.t : stop.t + this.store.rows.dur(stop.row);
    if (end < this.shown.from || stop.t > this.shown.to) {
      this.follows = false;
      this.show({ from: stop.t - length / 2, to: stop.t + length / 2 });
    }
    const at = this.lanesShown().indexOf(stop.lane) * this.layout.laneHeight;
    if (at < this.scrolled) this.scrolled = at;
    else if (at + this.layout.laneHeight > this.scrolled + this.layout.room) this.scrolled = at + this.layout.laneHeight - this.layout.room;
    this.layout = layoutOf(this.store.lanes, this.height, this.scrolled, this.sifted.lanes);
  }
}
