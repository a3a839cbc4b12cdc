/** Small charts below the picture, one above the other, in the same time. */
import uPlot from "uplot";
import { visible } from "../data/visible";
import type { Span, Store } from "../store";
import { attribute, h, unique, write } from "./dom";
import { bytes, three } from "./format";
import { readColours } from "../canvas/colours";
import type { ColourName } from "../canvas/colours";

type Column = (number | null)[];

interface Line {
  label: string;
  colour: ColourName;
  dash?: number[];
  fill?: boolean;
  stepped?: boolean;
  values: number[];
  t: number[];
}

interface Panel {
  title: string;
  unit: (value: number) => string;
  /** Whose lines share the times of the first; others are joined. */
  lines: (store: Store) => Line[];
  /** One line stands for a worker, and only the nearest is named. */
  each: boolean;
}

const megabytes = (value: number): string => bytes(value * 1e6);
const milliseconds = (value: number): string => (value >= 1000 ? `${three(value / 1000)} s` : `${three(value)} ms`);
const plain = (value: number): string => three(value);

function perLane(store: Store, column: "memory_mb" | "cpu_percent" | "gpu_memory_mb"): Line[] {
  const made: Line[] = [];
  for (const [lane, stats] of store.stats) {
    if (!stats[column].some(Number.isFinite)) continue;
    made.push({ label: visible(store.lanes[lane]?.label ?? `lane ${lane}`, 40), colour: "shared", t: stats.t, values: stats[column] });
  }
  return made;
}

const PANELS: readonly Panel[] = [
  {
    title: "Queue",
    unit: plain,
    each: false,
    lines: ({ samples: s }) => [{ label: "waiting", colour: "timeout", fill: true, stepped: true, t: s.t, values: s.queue }],
  },
  {
    title: "Throughput",
    unit: (value) => `${plain(value)}/s`,
    each: false,
    lines: ({ samples: s }) => [{ label: "ended", colour: "ok", fill: true, t: s.t, values: s.throughput }],
  },
  {
    title: "Latency",
    unit: milliseconds,
    each: false,
    lines: ({ samples: s }) => [
      { label: "p50", colour: "shared", t: s.t, values: s.p50 },
      { label: "p95", colour: "timeout", dash: [6, 3], t: s.t, values: s.p95 },
      { label: "p99", colour: "crashed", dash: [2, 2], t: s.t, values: s.p99 },
    ],
  },
  { title: "Memory", unit: megabytes, each: true, lines: (store) => perLane(store, "memory_mb") },
  { title: "CPU", unit: (value) => `${plain(value)} %`, each: true, lines: (store) => perLane(store, "cpu_percent") },
  { title: "GPU mem.", unit: megabytes, each: true, lines: (store) => perLane(store, "gpu_memory_mb") },
];

const HEIGHT = 56;

/** Index of the first of ascending `t` that is not before `at`. */
function reach(t: readonly number[], at: number): number {
  let low = 0;
  let high = t.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((t[middle] as number) < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The columns of a chart, cut to the span and a point beyond on either side; NaN is a gap. */
export function columns(lines: readonly Line[], span: Span): uPlot.AlignedData {
  const cut = (line: Line): [number[], Column] => {
    const from = Math.max(0, reach(line.t, span.from) - 1);
    const to = Math.min(line.t.length, reach(line.t, span.to) + 1);
    const values = line.values.slice(from, to).map((value) => (Number.isFinite(value) ? value : null));
    return [line.t.slice(from, to), values];
  };
  const first = lines[0];
  if (first === undefined) return [[], []];
  if (lines.every((line) => line.t === first.t)) return [cut(first)[0], ...lines.map((line) => cut(line)[1])];
  return uPlot.join(
    lines.map((line) => cut(line) as uPlot.AlignedData),
    lines.map(() => [0, 0]),
  );
}

class Chart {
  readonly root: HTMLElement;
  readonly #value = h("span", { class: "value" });
  readonly #plot = h("div", { class: "plot", role: "img" });
  readonly #button: HTMLButtonElement;
  #chart: uPlot | null = null;
  #shape = "";
  #lines: Line[] = [];
  #near: number | null = null;
  #index: number | null = null;
  #splits: number[] = [];
  open = true;

  constructor(
    private readonly panel: Panel,
    private readonly store: Store,
    private readonly group: Panels,
  ) {
    const id = unique("chart");
    this.#plot.id = id;
    attribute(this.#plot, "aria-label", panel.title);
    this.#button = h("button", { type: "button", class: "disclose", "aria-expanded": "true", "aria-controls": id }, panel.title);
    this.#button.addEventListener("click", () => {
      this.open = !this.open;
      attribute(this.#button, "aria-expanded", String(this.open));
      this.#plot.hidden = !this.open;
      this.group.stale = true;
    });
    this.root = h("div", { class: "panel" }, h("div", { class: "name" }, this.#button, this.#value), this.#plot);
  }


  draw(span: Span, left: number, width: number): void {
    this.#lines = this.panel.lines(this.store);
    this.root.hidden = this.panel.each && this.#lines.length === 0;
    if (this.root.hidden) return;
    this.#tell();
    if (!this.open) return;
    const data = columns(this.#lines, span);
    const shape = [left, width, this.group.theme, ...this.#lines.map((line) => line.label)].join("\n");
    if (this.#chart === null || shape !== this.#shape) {
      this.#shape = shape;
      this.#chart?.destroy();
      this.#chart = this.#make(data, left, width);
    } else {
      const chart = this.#chart;
      chart.batch(() => {
        chart.setData(data, false);
        chart.setScale("x", { min: span.from, max: span.to });
      });
    }
  }

  #make(data: uPlot.AlignedData, left: number, width: number): uPlot {
    const { panel } = this;
    const colours = readColours(this.root);
    const series = this.#lines.map((line): uPlot.Series => {
      const stroke = colours[line.colour];
      const made: uPlot.Series = { label: line.label, stroke, width: panel.each ? 1 : 1.25, points: { show: false }, spanGaps: panel.each };
      if (line.dash !== undefined) made.dash = line.dash;
      if (line.fill === true) made.fill = `${stroke}24`;
      const stepped = line.stepped === true ? uPlot.paths.stepped?.({ align: 1 }) : undefined;
      if (stepped !== undefined) made.paths = stepped;
      return made;
    });
    return new uPlot(
      {
        width: left + width,
        height: HEIGHT,
        padding: [6, 0, 4, 0],
        pxAlign: false,
        legend: { show: false },
        focus: { alpha: panel.each ? 0.3 : 1 },
        cursor: {
          sync: { key: this.group.key },
          x: false,
          y: false,
          drag: { x: false, y: false },
          focus: { prox: panel.each ? 24 : -1 },
          points: { size: 5, width: 1 },
        },
        scales: {
          x: { time: false, range: () => [this.group.span.from, this.group.span.to] },
          y: { range: (_chart, _low, high) => [0, high > 0 ? high * 1.08 : 1] },
        },
        axes: [
          { show: false },
          {
            size: left,
            space: 18,
            grid: { stroke: colours.grid, width: 1 },
            ticks: { show: false },
            values: (_chart, splits) => {
              this.#splits = splits;
              return splits.map(() => "");
            },
          },
        ],
        series: [{}, ...series],
        hooks: {
          drawAxes: [(chart) => this.#label(chart, colours.muted)],
          setCursor: [(chart) => this.#cursor(chart)],
          setSeries: [
            (_chart, index) => {
              this.#near = index;
              this.#tell();
            },
          ],
        },
      },
      data,
      this.#plot,
    );
  }

  /** The labels lie in the plot, above their lines: the room beside it is for name and value. */
  #label(chart: uPlot, ink: string): void {
    const { ctx, bbox } = chart;
    const ratio = uPlot.pxRatio;
    ctx.save();
    ctx.fillStyle = ink;
    ctx.font = `${9 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    for (const value of this.#splits) {
      const y = chart.valToPos(value, "y", true);
      if (value > 0 && y > 11 * ratio) ctx.fillText(this.panel.unit(value), bbox.left + 4 * ratio, y);
    }
    ctx.restore();
  }

  #cursor(chart: uPlot): void {
    this.#index = chart.cursor.idx ?? null;
    if ((chart.cursor.left ?? -1) < 0) this.#index = null;
    this.#tell();
  }

  /** The value under the pointer, or the latest. */
  #tell(): void {
    const { unit, each } = this.panel;
    const shown = this.#lines.map((line, at) => {
      const column = this.#chart?.data[at + 1];
      const value = this.#index === null ? line.values.at(-1) : column?.[this.#index];
      return [line.label, value ?? NaN] as const;
    });
    let words: string;
    if (each) {
      const near = this.#near === null ? undefined : shown[this.#near - 1];
      const highest = shown.reduce((best, one) => (one[1] > best[1] ? one : best), ["", -Infinity] as readonly [string, number]);
      const [label, value] = near ?? highest;
      words = Number.isFinite(value) ? `${unit(value)}\n${label}` : "";
    } else if (shown.length === 1) words = Number.isFinite(shown[0]?.[1]) ? unit(shown[0]?.[1] as number) : "–";
    else words = shown.map(([label, value]) => `${label} ${Number.isFinite(value) ? unit(value) : "–"}`).join("\n");
    write(this.#value, words);
    attribute(this.#plot, "aria-label", `${this.panel.title}: ${words.replaceAll("\n", ", ")}`);
  }

  /** Moves the cursor to a place in the plot, in pixels; null takes it away. */
  point(x: number | null): void {
    this.#chart?.setCursor({ left: x ?? -10, top: x === null ? -10 : 0 }, true);
  }

  destroy(): void {
    this.#chart?.destroy();
  }
}

export class Panels {
  readonly root = h("div", { class: "panels" });
  readonly key = unique("cursor");
  span: Span = { from: 0, to: 1 };
  theme = "";
  stale = true;
  readonly #charts: Chart[];

  constructor(store: Store) {
    this.#charts = PANELS.map((panel) => new Chart(panel, store, this));
    this.root.append(...this.#charts.map((chart) => chart.root));
  }

  /** `left`: where the plot of the picture begins; `width`: of the plot; in CSS pixels. */
  draw(span: Span, left: number, width: number): void {
    if (width < 20) return;
    this.span = span;
    this.stale = false;
    for (const chart of this.#charts) chart.draw(span, left, width);
  }

  point(x: number | null): void {
    for (const chart of this.#charts) chart.point(x);
  }

  destroy(): void {
    for (const chart of this.#charts) chart.destroy();
    this.root.remove();
  }
}
