/**
 * What the kernel has told, kept for every view of one model; and the questions that views ask it.
 *
 * Rule: a batch that is missing costs its rows and no more. What comes after it is shown at once; a keyframe is asked
 * for, at most every two seconds, until one has come.
 * Rule: a question always ends: by its answer, or, where the kernel is silent or gone, by an answer that says so.
 */
import type { Action, Batch, Details, Done, FileMessage, FromKernel, Lane, Open, Summary, SummaryMessage, ToKernel } from "../protocol";
import { SAMPLE_COLUMNS, STAT_COLUMNS } from "../protocol";
import type { Link, Store } from "../store";
import { KernelClock } from "./clock";
import { decode, isSummary } from "./decoder";
import { History } from "./history";
import { DensityRing } from "./ring";
import { visible } from "./visible";

/** All in milliseconds. */
const RESYNC_EVERY = 2000;
const WAITING_AFTER = 1000;
const SILENT_AFTER = 5000;
/** Points of a chart; more are cut in one go, so that cutting is rare. */
const POINTS = 7200;

type Series<Name extends string> = Record<Name, number[]>;
type Stats = Series<"t" | "memory_mb" | "cpu_percent" | "gpu_memory_mb">;
type File = { message: FileMessage; data: DataView | null };
interface Question {
  asked: number;
  answer(message: Details | Done | FileMessage, data: DataView | null): void;
  fail(why: string): void;
}

const GONE = "The kernel does not answer.";

export class LiveStore implements Store {
  readonly rows = new History();
  readonly density = new DensityRing();
  lanes: readonly Lane[] = [];
  open: readonly Open[] = [];
  summary: Summary | null = null;
  samples = emptySamples();
  stats = new Map<number, Stats>();
  originMs = 0;
  version = 0;

  private readonly clock: KernelClock = new KernelClock(SILENT_AFTER / 1000);
  private readonly listeners = new Set<() => void>();
  private readonly questions = new Map<number, Question>();
  private strings: (string | undefined)[] = [];
  private seq: number | null = null;
  private lost = false;
  private resyncAt = -Infinity;
  private heard: number;
  private ask = 0;
  private told: Link = "live";
  private timer: ReturnType<typeof setTimeout> | undefined;
  private disposed = false;

  /**
   * `channel.send` may throw: then the kernel counts as gone. Where `channel` is null there is none, and every
   * question is answered so at once. `here` is this machine's clock in milliseconds; one that stands makes a store
   * that never falls silent.
   */
  constructor(
    private readonly channel: { send(message: ToKernel): void } | null,
    private readonly here: () => number = () => performance.now(),
  ) {
    this.heard = here();
    this.watch();
  }

  get link(): Link {
    const now = this.here();
    if (now - this.heard >= SILENT_AFTER) return "silent";
    for (const question of this.questions.values()) if (now - question.asked >= WAITING_AFTER) return "waiting";
    return "live";
  }

  now(): number {
    return this.clock.now(this.here() / 1000);
  }

  text(name: number): string {
    return this.strings[name] ?? "…";
  }

  subscribe(changed: () => void): () => void {
    this.listeners.add(changed);
    return () => this.listeners.delete(changed);
  }

  send(message: ToKernel): void {
    // The answer to a hello is a keyframe: nothing needs asking for meanwhile.
    if (message.verb === "hello" || message.verb === "resync") this.resyncAt = this.here();
    try {
      this.channel?.send(message);
    } catch {
      // The comm is closed; the link falls silent and says so.
    }
  }

  receive(content: FromKernel, buffers: readonly DataView[] = []): void {
    if (this.disposed) return;
    this.heard = this.here();
    try {
      if (content.type === "batch") this.take(content, buffers);
      else if (content.type === "summary") this.hearSummary(content);
      else if (content.type === "report") return;
      else this.answer(content, buffers[0] ?? null);
    } catch (error) {
      console.error("snakepit_nb: a message was not understood", error);
      this.lost = true;
    }
    if (this.lost) this.resync();
    this.changed();
    this.watch();
  }

  details(id: number): Promise<Details> {
    return this.question<Details>(
      (ask) => ({ verb: "details", ask, id }),
      (message) => message as Details,
      (ask, why) => ({
        ...{ type: "details", ask, id, found: false, event: "" },
        ...{ measurements: {}, metadata: {}, html: "", text: why },
      }),
    );
  }

  act(action: Action): Promise<Done> {
    return this.question<Done>(
      (ask) => ({ verb: "do", ask, ...action }),
      (message) => message as Done,
      (ask, why) => ({ type: "done", ask, ok: false, text: why }),
    );
  }

  file(format: string): Promise<File> {
    return this.question<File>(
      (ask) => ({ verb: "export", ask, format }),
      (message, data) => ({ message: message as FileMessage, data }),
      (ask, text) => ({ message: { type: "file", ask, ok: false, text, name: "", mime: "" }, data: null }),
    );
  }

  dispose(): void {
    this.disposed = true;
    clearTimeout(this.timer);
    this.end(() => true, "The timeline was closed.");
    this.listeners.clear();
  }

  private take(batch: Batch, buffers: readonly DataView[]): void {
    // Before anything is changed: a batch is taken whole or not at all.
    const { rows, density, samples, stats } = decode(batch, buffers);
    const expected = this.seq === null ? null : this.seq + 1;
    if (!batch.key && expected !== null && batch.seq < expected) return;
    if (batch.key) this.forget(batch.origin_ms);
    else if (batch.seq !== expected) this.lost = true;
    this.seq = batch.seq;
    this.originMs = batch.origin_ms;
    batch.strings.forEach((text, i) => (this.strings[batch.base + i] = visible(text)));
    this.lanes = batch.lanes.map((lane) => ({ ...lane, label: visible(lane.label, 60) }));
    this.open = batch.open;
    this.rows.append(rows);
    this.density.append(density);
    this.addSamples(samples);
    this.addStats(stats);
    this.hear(batch.now, batch.summary);
  }

  private hearSummary(message: SummaryMessage): void {
    if (!Number.isFinite(message.now) || !isSummary(message.summary)) throw new TypeError("a summary of nothing");
    if (this.seq === null || message.seq > this.seq) this.lost = true;
    this.hear(message.now, message.summary);
  }

  private hear(now: number, summary: Summary): void {
    this.summary = summary;
    this.clock.hear(now, this.here() / 1000);
    if (summary.state === "stopped") this.clock.hold(now);
  }

  private forget(origin: number): void {
    this.rows.clear();
    this.density.clear();
    this.samples = emptySamples();
    this.stats = new Map();
    this.strings = [];
    this.lost = false;
    if (origin !== this.originMs) this.clock.reset();
  }

  private addSamples(values: Float64Array): void {
    const width = SAMPLE_COLUMNS.length;
    const series = this.samples;
    for (let at = 0; at < values.length; at += width) {
      // A chart needs its times in order.
      if (values[at]! <= (series.t.at(-1) ?? -Infinity)) continue;
      SAMPLE_COLUMNS.forEach((name, i) => series[name].push(values[at + i]!));
    }
    trim(series);
  }

  private addStats(values: Float64Array): void {
    const width = STAT_COLUMNS.length;
    for (let at = 0; at < values.length; at += width) {
      const lane = values[at + 1]!;
      let series = this.stats.get(lane);
      if (series === undefined) this.stats.set(lane, (series = { t: [], memory_mb: [], cpu_percent: [], gpu_memory_mb: [] }));
      if (values[at]! <= (series.t.at(-1) ?? -Infinity)) continue;
      series.t.push(values[at]!);
      series.memory_mb.push(values[at + 2]!);
      series.cpu_percent.push(values[at + 3]!);
      series.gpu_memory_mb.push(values[at + 4]!);
    }
    for (const series of this.stats.values()) trim(series);
  }

  private resync(): void {
    if (this.here() - this.resyncAt >= RESYNC_EVERY) this.send({ verb: "resync" });
  }

  private question<T>(
    message: (ask: number) => ToKernel,
    read: (message: Details | Done | FileMessage, data: DataView | null) => T,
    none: (ask: number, why: string) => T,
  ): Promise<T> {
    const ask = ++this.ask;
    return new Promise((resolve) => {
      const fail = (why: string): void => resolve(none(ask, why));
      if (this.disposed) return fail("The timeline was closed.");
      if (this.channel === null) return fail("This page has no kernel to ask.");
      this.questions.set(ask, { asked: this.here(), answer: (got, data) => resolve(read(got, data)), fail });
      try {
        this.channel.send(message(ask));
      } catch {
        this.questions.delete(ask);
        return fail(GONE);
      }
      this.watch();
    });
  }

  private answer(message: Details | Done | FileMessage, data: DataView | null): void {
    const question = this.questions.get(message.ask);
    this.questions.delete(message.ask);
    question?.answer(message, data);
  }

  private end(which: (question: Question) => boolean, why: string): void {
    for (const [ask, question] of this.questions) {
      if (!which(question)) continue;
      this.questions.delete(ask);
      question.fail(why);
    }
  }

  /** Looks again when the link may have become another. */
  private watch(): void {
    clearTimeout(this.timer);
    if (this.disposed) return;
    const now = this.here();
    const link = this.link;
    if (link === "silent") this.end((question) => now - question.asked >= SILENT_AFTER, GONE);
    if (link !== this.told) {
      this.told = link;
      this.changed();
    }
    const times = [this.heard + SILENT_AFTER];
    for (const { asked } of this.questions.values()) times.push(asked + WAITING_AFTER, asked + SILENT_AFTER);
    const next = Math.min(...times.filter((time) => time > now));
    if (next < Infinity) this.timer = setTimeout(() => this.watch(), next - now);
  }

  private changed(): void {
    this.version++;
    for (const listener of [...this.listeners]) listener();
  }
}

function emptySamples(): Series<(typeof SAMPLE_COLUMNS)[number]> {
  return { t: [], queue: [], throughput: [], p50: [], p95: [], p99: [] };
}

function trim(series: Record<string, number[]>): void {
  for (const values of Object.values(series)) if (values.length > 2 * POINTS) values.splice(0, values.length - POINTS);
}
