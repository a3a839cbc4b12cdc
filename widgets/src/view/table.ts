/**
 * The events as a table: the timeline for those who do not see it, or would rather read.
 *
 * Rule: newest first, by the filter and the selection of the picture; while the focus is on a row, the rows stand.
 */
import { Sieve } from "../canvas/filter";
import { Kind, Outcome } from "../protocol";
import type { Filter, Span, Store } from "../store";
import { attribute, h, write } from "./dom";
import { clock, count, duration } from "./format";
import { extraOf, kindOf, laneOf, outcomeOf, rowAt, rowOf } from "./row";
import type { Row } from "./row";

export const PAGE = 50;
const COLUMNS = ["Time", "What", "Worker", "Name", "Duration", "Outcome", "More"];

/** One page of the rows, newest first, and how many there are: those that run come before all others. */
export function page(store: Store, filter: Filter, span: Span | null, at: number): { rows: Row[]; total: number } {
  const { rows } = store;
  const sieve = new Sieve(filter, (name) => store.text(name));
  const first = at * PAGE;
  const made: Row[] = [];
  let total = 0;
  const running = store.open
    .filter(([, lane, name, , t]) => sieve.letsValues(lane, Kind.REQUEST, Outcome.NONE, name) && (span === null || t <= span.to))
    .sort((a, b) => b[4] - a[4]);
  for (const open of running) {
    if (total >= first && made.length < PAGE) made.push(rowOf(store, open));
    total += 1;
  }
  rows.newest((i) => {
    if (!sieve.lets(rows, i)) return;
    if (span !== null && (rows.t(i) > span.to || rows.t(i) + rows.dur(i) < span.from)) return;
    if (total >= first && made.length < PAGE) made.push(rowAt(store, i));
    total += 1;
  });
  return { rows: made, total };
}

export class Table {
  readonly root: HTMLElement;
  readonly #caption = h("caption");
  readonly #body = h("tbody");
  readonly #older: HTMLButtonElement;
  readonly #newer: HTMLButtonElement;
  #rows: Row[] = [];
  #page = 0;
  #current = 0;

  constructor(
    private readonly store: Store,
    private readonly inspect: (row: Row) => void,
  ) {
    const head = h("tr", {}, ...COLUMNS.map((word) => h("th", { scope: "col" }, word)));
    this.#newer = h("button", { type: "button", click: () => this.#turn(-1) }, "Newer");
    this.#older = h("button", { type: "button", click: () => this.#turn(1) }, "Older");
    const table = h("table", {}, this.#caption, h("thead", {}, head), this.#body);
    this.#body.addEventListener("click", (event) => this.#open(event.target));
    this.#body.addEventListener("keydown", (event) => this.#key(event));
    this.#body.addEventListener("focusin", (event) => this.#rove(this.#at(event.target)));
    this.root = h("div", { class: "events" }, h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of events" }, table), h("div", { class: "set" }, this.#newer, this.#older));
    this.root.hidden = true;
  }

  #filter: Filter | null = null;
  #span: Span | null = null;

  draw(filter: Filter, span: Span | null): void {
    if (this.root.hidden) return;
    if (filter !== this.#filter || span !== this.#span) this.#page = 0;
    else if (this.#body.contains(document.activeElement)) return;
    this.#filter = filter;
    this.#span = span;
    this.#fill();
  }

  #fill(): void {
    let found = page(this.store, this.#filter as Filter, this.#span, this.#page);
    const last = Math.max(0, Math.ceil(found.total / PAGE) - 1);
    if (this.#page > last) {
      this.#page = last;
      found = page(this.store, this.#filter as Filter, this.#span, last);
    }
    this.#rows = found.rows;
    for (const [at, row] of found.rows.entries()) this.#write(at, row);
    while (this.#body.children.length > found.rows.length) this.#body.lastChild?.remove();
    this.#rove(Math.min(this.#current, Math.max(0, found.rows.length - 1)));
    const from = this.#page * PAGE;
    const which = found.total === 0 ? "none" : `${count(from + 1)}–${count(from + found.rows.length)} of ${count(found.total)}`;
    write(this.#caption, `Events, newest first: ${which}${this.#span === null ? "" : ", in the selection"}`);
    this.#newer.disabled = this.#page === 0;
    this.#older.disabled = this.#page >= last;
  }

  #write(at: number, row: Row): void {
    const cells = [
      clock(this.store.originMs + row.t * 1000),
      kindOf(row),
      row.lane === 0 ? "–" : laneOf(this.store, row.lane),
      row.name,
      row.dur > 0 ? duration(row.dur) : "–",
      outcomeOf(row) || "–",
      extraOf(row) || "–",
    ];
    let line = this.#body.children[at];
    if (line === undefined) {
      line = h("tr", { tabindex: -1 }, ...cells.map((_, i) => (i === 1 ? h("th", { scope: "row" }) : h("td"))));
      this.#body.append(line);
    }
    attribute(line, "data-outcome", outcomeOf(row) || null);
    for (const [i, text] of cells.entries()) write(line.children[i] as Element, text);
  }

  #at(target: EventTarget | null): number {
    const line = target instanceof Element ? target.closest("tr") : null;
    return line === null ? -1 : Array.prototype.indexOf.call(this.#body.children, line);
  }

  /** One row is in the order of Tab; the arrows go to the others. */
  #rove(at: number): void {
    if (at < 0) return;
    this.#current = at;
    for (const [i, line] of [...this.#body.children].entries()) attribute(line, "tabindex", i === at ? 0 : -1);
  }

  #open(target: EventTarget | null): void {
    const row = this.#rows[this.#at(target)];
    if (row !== undefined) this.inspect(row);
  }

  #key(event: KeyboardEvent): void {
    const at = this.#at(event.target);
    const last = this.#body.children.length - 1;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
    if (event.key === "Enter" || event.key === " ") this.#open(event.target);
    else if (to !== undefined) (this.#body.children[Math.min(last, Math.max(0, to))] as HTMLElement | undefined)?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #turn(by: number): void {
    this.#page = Math.max(0, this.#page + by);
    this.#current = 0;
    this.#fill();
  }
}
