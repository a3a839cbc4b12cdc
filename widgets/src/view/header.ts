/** The pool in one line: its state in word and sign, its workers, what it did, and whether the kernel is heard. */
import { visible } from "../data/visible";
import type { Summary } from "../protocol";
import type { Link, Store } from "../store";
import { attribute, h, write } from "./dom";
import { bytes, count, many } from "./format";

export const LINKS: Record<Link, string> = {
  live: "live",
  waiting: "the kernel is busy",
  silent: "the kernel does not answer",
};

const STATES: Record<string, string> = { running: "▶", stopped: "■", broken: "✖" };

/** What a small view tells. */
const FEW: ReadonlySet<string> = new Set(["busy", "queued", "ok", "failed", "crashes"]);

/** The figures, in order; those that are nought and would only be noise are left out. */
export function figures(summary: Summary): [label: string, value: string, tone?: string][] {
  const { workers, requests } = summary;
  const failed = requests.error + requests.cancelled + requests.timeout + requests.crashed;
  const made: [string, string, string?][] = [
    ["busy", `${workers.busy} of ${workers.target}`],
    ["idle", String(workers.idle)],
  ];
  if (workers.tainted > 0) made.push(["tainted", String(workers.tainted), "warn"]);
  if (workers.starting > 0) made.push(["starting", String(workers.starting)]);
  made.push(["queued", count(summary.queued), summary.saturated_since === null ? "" : "warn"]);
  made.push(["ok", count(requests.ok)], ["failed", count(failed), failed > 0 ? "bad" : ""]);
  made.push(["shared", bytes(summary.bytes_shared)], ["copied", bytes(summary.bytes_copied)]);
  if (summary.recycled > 0) made.push(["recycled", count(summary.recycled)]);
  if (summary.crashes > 0) made.push(["crashes", count(summary.crashes), "bad"]);
  return made;
}

export class Header {
  readonly root: HTMLElement;
  readonly #name = h("strong", { class: "pool" }, "…");
  readonly #state = h("span", { class: "state" });
  readonly #figures = h("dl", { class: "figures" });
  readonly #link = h("span", { class: "link" });

  constructor(
    private readonly store: Store,
    private readonly options: { standalone: boolean; mini: boolean; recorded?: boolean },
  ) {
    this.root = h("header", {}, h("div", { class: "who" }, this.#name, this.#state), this.#figures, this.#link);
    this.#link.hidden = options.standalone;
  }

  draw(): void {
    const { summary, link } = this.store;
    attribute(this.#link, "data-link", link);
    write(this.#link, this.options.recorded === true ? "a recording" : LINKS[link]);
    if (summary === null) {
      write(this.#state, "no event so far");
      return;
    }
    write(this.#name, visible(summary.pool, 60));
    attribute(this.#state, "data-state", summary.state);
    const why = summary.reason === "" ? "" : `: ${visible(summary.reason)}`;
    write(this.#state, `${STATES[summary.state] ?? "?"} ${visible(summary.state, 20)}${why}`);
    const wanted = figures(summary).filter(([label]) => !this.options.mini || FEW.has(label));
    for (const [at, [label, value, tone]] of wanted.entries()) {
      let pair = this.#figures.children[at];
      if (pair === undefined) this.#figures.append((pair = h("div", {}, h("dt"), h("dd"))));
      const [dt, dd] = pair.children as unknown as [Element, Element];
      write(dt, label);
      write(dd, value);
      attribute(pair, "data-tone", tone || null);
    }
    while (this.#figures.children.length > wanted.length) this.#figures.lastChild?.remove();
  }
}

/** The picture in words, for those who do not see it. */
export function inWords(store: Store): string {
  const { summary } = store;
  if (summary === null) return "Nothing has happened in this pool so far.";
  const { workers: w, requests: r } = summary;
  const parts = [
    `Pool ${visible(summary.pool, 60)} is ${visible(summary.state, 20)}.`,
    `${w.busy} of ${many(w.target, "worker")} busy, ${w.idle} idle, ${w.tainted} tainted, ${w.starting} starting.`,
    `${many(summary.queued, "request")} waiting, ${count(store.open.length)} running.`,
    `Ended: ${count(r.ok)} ok, ${count(r.error)} with an error, ${count(r.cancelled)} cancelled, ${count(r.timeout)} timed out, ${count(r.crashed)} lost to a crash.`,
    `${many(summary.crashes, "crash").replace("crashs", "crashes")}, ${count(summary.recycled)} recycled.`,
    `${bytes(summary.bytes_shared)} shared without a copy, ${bytes(summary.bytes_copied)} copied.`,
  ];
  if (summary.saturated_since !== null) parts.push("The pool is saturated.");
  if (summary.forgotten > 0) parts.push(`${many(summary.forgotten, "older row")} are no longer kept.`);
  return parts.join(" ");
}
