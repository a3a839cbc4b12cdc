/**
 * The whole view: composes the parts, and draws them from one loop.
 *
 * Rule: nothing is drawn where nobody looks, and nothing twice where nothing changed.
 */
import type { TimelineCanvas } from "../canvas/timeline";
import { TimelineCanvas as Canvas } from "../canvas/timeline";
import { EVERYTHING } from "../canvas/filter";
import { Kind } from "../protocol";
import type { Hit, Span, Store } from "../store";
import { Controls } from "./controls";
import { attribute, h, unique, write } from "./dom";
import { Header, inWords } from "./header";
import { followTheme, watch } from "./host";
import { Inspector } from "./inspector";
import { help, press } from "./keys";
import type { Hands } from "./keys";
import { legend } from "./legend";
import { Menu } from "./menu";
import { Panels } from "./panels";
import { rowAt, rowHit, sentence } from "./row";
import type { Row } from "./row";
import { Selection } from "./selection";
import { Table } from "./table";
import { Tip } from "./tip";
import { Toolbar } from "./toolbar";

export interface Options {
  mini: boolean;
  /** Of the lanes, in pixels; 0: as high as they need. */
  height: number;
  standalone: boolean;
  /** What is shown was, and does not go on. */
  recorded?: boolean;
  follow?: boolean;
  /** Seconds shown while following. */
  window?: number;
  /** Nothing, or from and to as Unix seconds. */
  selection?: readonly number[];
  ended?: string;
}

/** What a view tells whoever mounted it. */
export interface Told {
  follow?(on: boolean): void;
  selection?(span: [number, number] | []): void;
  /** Whether somebody can see it. */
  seen?(on: boolean): void;
}

export interface View {
  set(options: Partial<Options>): void;
  close(): void;
}

const CALM = 250; // ms between two looks at words and figures
const PACE = 45; // ms between two of the charts that only the passing of time asks for
const WORDS = 5000; // ms between two descriptions

export function mount(host: HTMLElement, store: Store, options: Options, told: Told = {}, Picture: typeof Canvas = Canvas): View {
  const app = new App(host, store, { ...options }, told, Picture);
  return { set: (changed) => app.set(changed), close: () => app.close() };
}

class App implements Hands {
  readonly #root: HTMLElement;
  readonly #stage = h("div", { class: "stage" });
  readonly #picture: HTMLElement;
  readonly #cross = h("div", { class: "cross", hidden: true });
  readonly #empty = h("p", { class: "empty" }, "Nothing has happened in this pool so far.");
  readonly #words: HTMLElement;
  readonly #alert = h("p", { class: "unseen", role: "alert" });
  readonly #spoken = [0, 1].map(() => h("span", { class: "unseen", id: unique("row"), role: "img", "aria-label": "No row has the focus" }));
  readonly #canvas: TimelineCanvas;
  readonly #header: Header;
  readonly #toolbar: Toolbar | null;
  readonly #panels: Panels | null;
  readonly #controls: Controls | null;
  readonly #inspector: Inspector;
  readonly #table: Table;
  readonly #selection: Selection;
  readonly #menu: Menu;
  readonly #tip = new Tip();
  readonly #tableButton: HTMLButtonElement;
  readonly #legendButton: HTMLButtonElement;
  readonly #helpButton: HTMLButtonElement;
  readonly #legend = h("div", { class: "fold" });
  readonly #help = h("div", { class: "fold" });
  readonly #undo: (() => void)[] = [];
  #back: Element | null = null;
  #seen = false;
  #frame = 0;
  #nap: ReturnType<typeof setTimeout> | undefined;
  #calm = 0;
  #slow = 0;
  #described = -Infinity;
  #panelsDue = 0;
  #drawn = "";
  #crashes: number | null = null;
  #said = { follow: true, selection: null as Span | null };
  #wanted: readonly number[] | null;
  /** A recording that is there whole, and is to be shown so. */
  #unseen: boolean;

  constructor(
    host: HTMLElement,
    private readonly store: Store,
    private readonly options: Options,
    private readonly told: Told,
    Picture: typeof Canvas,
  ) {
    const { mini, standalone } = options;
    const words = unique("words");
    this.#words = h("p", { class: "unseen", id: words });
    this.#picture = h("div", {
      class: "picture",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "timeline",
      "aria-label": "Timeline: arrows move between rows, Enter inspects, ? lists the keys",
      "aria-describedby": words,
    });
    this.#header = new Header(store, options);
    this.#controls = mini || standalone ? null : new Controls(store);
    this.#inspector = new Inspector(store, this.#controls, standalone, () => this.#closeInspector());
    this.#table = new Table(store, (row) => this.#show(row));
    this.#selection = new Selection(
      store,
      () => this.#select(null),
      () => this.#zoomTo(this.#canvas.selection),
    );
    this.#menu = new Menu(store, () => this.#canvas.png(), standalone);
    this.#tableButton = this.#fold("Table", "Events as a table (t)", this.#table.root, () => this.#fill());
    this.#legendButton = this.#fold("Legend", "What the shapes and colours mean", this.#legend, () => this.#explain());
    this.#helpButton = this.#fold("?", "Keys (?)", this.#help, () => this.#help.replaceChildren(help()));
    attribute(this.#helpButton, "aria-label", "Keys");
    this.#canvas = new Picture(this.#picture, store);
    this.#canvas.filter = EVERYTHING;
    const buttons = [this.#tableButton, this.#legendButton, this.#menu.root, this.#helpButton];
    this.#toolbar = mini ? null : new Toolbar(store, this.#look(), buttons);
    this.#panels = mini ? null : new Panels(store);
    if (mini) this.#header.root.append(this.#tableButton);
    const main = h("div", { class: "main" }, this.#picture, this.#empty, this.#selection.root, this.#panels?.root ?? null, this.#cross);
    this.#stage.append(main, this.#inspector.root);
    this.#root = h(
      "section",
      { class: `snakepit-nb${mini ? " mini" : ""}`, "aria-label": "Timeline of a pool", "data-lm-suppress-shortcuts": "true" },
      h("div", { class: "frame" }, this.#header.root, this.#toolbar?.root ?? null, this.#legend, this.#help, this.#stage, this.#table.root, this.#controls?.root ?? null, this.#words, this.#alert, ...this.#spoken),
    );
    this.#legend.hidden = this.#help.hidden = true;
    this.#picture.append(this.#tip.root);
    host.append(this.#root);
    this.#listen(main);
    this.#wanted = options.selection ?? null;
    this.#unseen = options.recorded === true;
    this.set(options);
    this.#undo.push(
      followTheme(this.#root, () => this.#themed()),
      watch(this.#root, (seen) => this.#watched(seen)),
    );
    this.#look_();
  }

  /** What can be changed from outside, as the traits of the widget are. */
  set(changed: Partial<Options>): void {
    Object.assign(this.options, changed);
    if (changed.follow !== undefined) this.#canvas.follow = this.#said.follow = changed.follow;
    if (changed.window !== undefined && changed.window > 0) this.#canvas.window = changed.window;
    if (changed.selection !== undefined) this.#wanted = changed.selection;
    if (changed.ended !== undefined && this.#controls !== null) this.#controls.ended = changed.ended;
    this.#calm = this.#panelsDue = 0;
    this.#wake();
  }

  close(): void {
    for (const undo of this.#undo) undo();
    this.#rest();
    this.#panels?.destroy();
    this.#canvas.dispose();
    this.#root.remove();
  }

  // What the hands do, by key or button.

  move(where: Parameters<TimelineCanvas["move"]>[0]): void {
    const hit = this.#canvas.move(where);
    const row = hit === null ? null : rowHit(this.store, hit);
    this.#speak(row === null ? "No row there" : sentence(this.store, row));
    this.#tip.show(this.store, row, hit, this.#picture);
  }

  inspect(): void {
    const hit = this.#canvas.focused;
    const row = hit === null ? null : rowHit(this.store, hit);
    if (row !== null) this.#show(row);
  }

  zoom(factor: number): void {
    this.#canvas.zoom(factor);
    this.#viewed();
  }

  pan(share: number): void {
    this.#canvas.pan((this.#canvas.span.to - this.#canvas.span.from) * share);
    this.#viewed();
  }

  fit(): void {
    this.#canvas.fit();
    this.#viewed();
  }

  toggleFollow(): void {
    this.#canvas.follow = !this.#canvas.follow;
    if (this.#canvas.follow) this.#canvas.paused = false;
    this.#viewed();
  }

  togglePause(): void {
    this.#canvas.paused = !this.#canvas.paused;
    this.#viewed();
  }

  search(): void {
    this.#toolbar?.search.focus();
  }

  toggleTable(): void {
    this.#tableButton.click();
    if (!this.#table.root.hidden) this.#table.root.querySelector<HTMLElement>("tbody tr[tabindex='0'], .scroll")?.focus();
  }

  toggleHelp(): void {
    this.#helpButton.click();
  }

  select(): void {
    const hit = this.#canvas.focused;
    const row = hit === null ? null : rowHit(this.store, hit);
    const span = row === null ? { ...this.#canvas.span } : { from: row.t, to: row.t + Math.max(row.dur, 1e-3) };
    this.#select(span);
  }

  /** Closes the innermost that is open. */
  escape(): void {
    if (this.#menu.escape() || (this.#controls?.escape() ?? false)) return;
    if (!this.#inspector.root.hidden) this.#closeInspector();
    else if (!this.#help.hidden) this.#helpButton.click();
    else if (!this.#legend.hidden) this.#legendButton.click();
    else if (this.#canvas.selection !== null) this.#select(null);
    else if (this.#toolbar?.clear() ?? false) this.#picture.focus();
    else {
      this.#canvas.focused = null;
      this.#tip.hide();
      this.#picture.focus();
    }
  }

  // The parts and how they hang together.

  #fold(word: string, title: string, part: HTMLElement, opened: () => void): HTMLButtonElement {
    part.id = unique("part");
    const button = h("button", { type: "button", title, "aria-expanded": "false", "aria-controls": part.id }, word);
    button.addEventListener("click", () => {
      part.hidden = !part.hidden;
      attribute(button, "aria-expanded", String(!part.hidden));
      if (!part.hidden) opened();
    });
    return button;
  }

  #look(): ConstructorParameters<typeof Toolbar>[1] {
    const canvas = this.#canvas;
    return {
      get follow() {
        return canvas.follow;
      },
      get paused() {
        return canvas.paused;
      },
      toggleFollow: () => this.toggleFollow(),
      togglePause: () => this.togglePause(),
      fit: () => this.fit(),
      zoom: (factor) => this.zoom(factor),
      filtered: (filter) => {
        canvas.filter = filter;
        this.#viewed();
      },
    };
  }

  #listen(main: HTMLElement): void {
    const canvas = this.#canvas;
    canvas.onhover = (hit) => this.#tip.show(this.store, hit === null ? null : rowHit(this.store, hit), hit, this.#picture);
    canvas.onpick = (hit) => {
      const row = rowHit(this.store, hit);
      if (row !== null) this.#show(row);
    };
    canvas.onselect = () => this.#viewed();
    canvas.onview = () => this.#viewed();
    this.#root.addEventListener("keydown", (event) => {
      // The notebook has single keys of its own (d d deletes a cell); they must not fire from here.
      event.stopPropagation();
      if (press(event, this, event.target === this.#picture)) this.#wake();
    });
    for (const name of ["keyup", "keypress"]) this.#root.addEventListener(name, (event) => event.stopPropagation());
    this.#picture.addEventListener("blur", () => this.#tip.hide());
    for (const name of ["pointerdown", "pointermove", "pointerup", "pointerleave", "wheel"]) {
      this.#picture.addEventListener(name, () => this.#wake(), { passive: true });
    }
    main.addEventListener("pointermove", (event) => this.#point(event));
    main.addEventListener("pointerleave", () => this.#unpoint());
    const outside = (event: Event): void => {
      if (!this.#menu.root.contains(event.target as Node)) this.#menu.root.open = false;
    };
    const page = this.#root.ownerDocument;
    page.addEventListener("pointerdown", outside);
    this.#undo.push(
      () => page.removeEventListener("pointerdown", outside),
      this.store.subscribe(() => this.#wake()),
    );
    if (typeof ResizeObserver !== "undefined") {
      const sized = new ResizeObserver(() => this.#themed());
      sized.observe(main);
      this.#undo.push(() => sized.disconnect());
    }
  }

  /** One hair line through picture and charts. */
  #point(event: PointerEvent): void {
    const { left, width } = this.#canvas.plot;
    const box = this.#picture.getBoundingClientRect();
    const x = event.clientX - box.left;
    const inside = x >= left && x <= left + width;
    this.#cross.hidden = !inside;
    this.#cross.style.transform = `translateX(${x}px)`;
    // Above the charts they know no pointer of their own.
    if (this.#picture.contains(event.target as Node)) this.#panels?.point(inside ? x - left : null);
  }

  #unpoint(): void {
    this.#cross.hidden = true;
    this.#panels?.point(null);
  }

  #show(row: Row): void {
    const active = this.#root.ownerDocument.activeElement;
    if (active !== null && !this.#inspector.root.contains(active)) this.#back = active;
    this.#tip.hide();
    this.#inspector.show(row);
    this.#wake();
  }

  #closeInspector(): void {
    this.#inspector.hide();
    const back = this.#back;
    if (back instanceof HTMLElement && this.#root.contains(back)) back.focus({ preventScroll: true });
    else this.#picture.focus({ preventScroll: true });
  }

  #select(span: Span | null): void {
    this.#canvas.selection = span;
    this.#viewed();
  }

  #zoomTo(span: Span | null): void {
    if (span === null) return;
    this.#canvas.follow = false;
    this.#canvas.span = { ...span };
    this.#viewed();
  }

  #explain(): void {
    this.#legend.replaceChildren(legend(this.#root));
  }

  #fill(): void {
    this.#table.draw(this.#canvas.filter, this.#canvas.selection);
  }

  /** Read by a screen reader when it is named anew; two take turns, for one name alone would be no news. */
  #speak(text: string): void {
    this.#spoken.reverse();
    const next = this.#spoken[0] as HTMLElement;
    attribute(next, "aria-label", text);
    attribute(this.#picture, "aria-activedescendant", next.id);
  }

  /** Where one looks has changed, by whatever hand. */
  #viewed(): void {
    const { follow, selection } = this.#canvas;
    if (follow !== this.#said.follow) {
      this.#said.follow = follow;
      this.told.follow?.(follow);
    }
    const said = this.#said.selection;
    if (selection?.from !== said?.from || selection?.to !== said?.to) {
      this.#said.selection = selection === null ? null : { ...selection };
      const origin = this.store.originMs / 1000;
      this.told.selection?.(selection === null ? [] : [origin + selection.from, origin + selection.to]);
    }
    this.#calm = this.#slow = this.#panelsDue = 0;
    this.#wake();
  }

  #themed(): void {
    this.#inspector.themed();
    if (this.#panels !== null) this.#panels.theme = `${this.#root.dataset["theme"]} ${this.#root.ownerDocument.body.dataset["jpThemeName"] ?? ""}`;
    if (!this.#legend.hidden) this.#explain();
    this.#drawn = "";
    this.#panelsDue = 0;
    this.#wake();
  }

  #watched(seen: boolean): void {
    this.#seen = seen;
    this.told.seen?.(seen);
    if (!seen) this.#rest();
    this.#drawn = "";
    this.#wake();
  }

  // The loop.

  #wake(): void {
    if (!this.#seen || this.#frame !== 0) return;
    clearTimeout(this.#nap);
    this.#frame = requestAnimationFrame((time) => this.#turn(time));
  }

  #turn(time: number): void {
    this.#frame = 0;
    this.#draw(time);
    const { follow, paused } = this.#canvas;
    const lively = follow && !paused && this.store.link !== "silent" && this.store.summary?.state === "running";
    if (lively) this.#wake();
    // What happens without a word, the kernel's silence or another theme, is seen at the next look.
    else this.#nap = setTimeout(() => this.#wake(), CALM);
  }

  #rest(): void {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#nap);
    this.#frame = 0;
  }

  #draw(time: number): void {
    const canvas = this.#canvas;
    const still = this.#still && canvas.follow && !canvas.paused && time < this.#slow;
    if (!still) canvas.draw();
    if (time >= this.#calm) {
      this.#calm = time + CALM;
      this.#look_();
    }
    if (time >= this.#slow) {
      this.#slow = time + 2 * CALM;
      this.#fill();
      this.#selection.draw(canvas.selection);
    }
    const { from, to } = canvas.span;
    const drawn = `${this.store.version} ${from} ${to}`;
    if (this.#panels !== null && !still && time >= this.#panelsDue && (drawn !== this.#drawn || this.#panels.stale)) {
      const began = performance.now();
      const { left, width } = canvas.plot;
      this.#panels.draw(canvas.span, left, width);
      this.#drawn = drawn;
      // Charts that are dear are drawn less often, so that the picture stays smooth.
      const cost = performance.now() - began;
      this.#panelsDue = time + Math.max(canvas.follow ? PACE : 0, cost < 3 ? 0 : 6 * cost);
    }
    if (time - this.#described >= WORDS) {
      this.#described = time;
      write(this.#words, inWords(this.store));
    }
  }

  /** Whether the reader asked for less motion: then the picture goes on in steps. */
  get #still(): boolean {
    return globalThis.matchMedia?.("(prefers-reduced-motion: reduce)").matches ?? false;
  }

  /** The words and figures. */
  #look_(): void {
    const { store } = this;
    this.#header.draw();
    this.#toolbar?.draw();
    this.#controls?.draw();
    this.#inspector.draw();
    this.#size();
    this.#empty.hidden = store.lanes.length > 0;
    const pool = store.summary?.pool;
    if (pool !== undefined) attribute(this.#root, "aria-label", `Timeline of pool ${pool.slice(0, 60)}`);
    this.#announce();
    if (this.#unseen && this.store.originMs > 0) {
      this.#unseen = false;
      this.#canvas.fit();
    }
    if (this.#wanted !== null && store.originMs > 0) {
      const [from, to] = this.#wanted;
      this.#wanted = null;
      const origin = store.originMs / 1000;
      const span = from === undefined || to === undefined ? null : { from: from - origin, to: to - origin };
      this.#said.selection = span === null ? null : { ...span };
      this.#canvas.selection = span;
      this.#slow = 0;
    }
  }

  #size(): void {
    const { mini, height } = this.options;
    const lanes = Math.max(1, this.store.lanes.length);
    const lane = mini ? 20 : lanes <= 6 ? 34 : lanes <= 12 ? 26 : 20;
    const wanted = height > 0 ? height : Math.min(mini ? 190 : 420, 26 + lanes * lane);
    const style = `${wanted}px`;
    if (this.#picture.style.height !== style) this.#picture.style.height = style;
  }

  /** A crash is worth interrupting a reader; nothing else is. */
  #announce(): void {
    const crashes = this.store.summary?.crashes;
    if (crashes === undefined) return;
    if (this.#crashes !== null && crashes > this.#crashes) {
      const { rows } = this.store;
      let text = "A worker crashed";
      for (let i = rows.length - 1; i >= 0; i -= 1) {
        if (rows.kind(i) !== Kind.CRASH) continue;
        text = sentence(this.store, rowAt(this.store, i));
        break;
      }
      write(this.#alert, `${text}. ${crashes} so far.`);
    }
    this.#crashes = crashes;
  }
}

export type { Hit };
