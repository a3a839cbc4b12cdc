/** How one looks: following, pausing, zooming, and what is left out. */
import { ordered } from "../canvas/layout";
import { visible } from "../data/visible";
import { Kind, Outcome } from "../protocol";
import type { Filter, Store } from "../store";
import { attribute, h } from "./dom";
import { OUTCOMES } from "./row";

export interface Look {
  follow: boolean;
  paused: boolean;
  toggleFollow(): void;
  togglePause(): void;
  fit(): void;
  zoom(factor: number): void;
  filtered(filter: Filter): void;
}

const KIND_GROUPS: readonly [string, readonly number[]][] = [
  ["All events", []],
  ["Requests", [Kind.REQUEST]],
  ["Cells", [Kind.CELL, Kind.COPIED]],
  ["Exceptions", [Kind.EXCEPTION]],
  ["Crashes and taints", [Kind.CRASH, Kind.TAINTED, Kind.RESTARTED, Kind.HEALTH_CHECK_FAILED]],
  ["Worker lives", [Kind.STARTED, Kind.RECYCLED, Kind.RESTARTED, Kind.CRASH]],
  ["Zero copy", [Kind.EXPORT, Kind.FALLBACK, Kind.LEAKED, Kind.COPIED]],
  ["Saturation", [Kind.SATURATED, Kind.REJECTED]],
  ["Pool", [Kind.POOL_STARTED, Kind.POOL_RESIZED, Kind.POOL_STOPPED]],
  ["Retries and breakers", [Kind.RETRY, Kind.RETRY_EXHAUSTED, Kind.BREAKER]],
  ["Sessions", [Kind.SESSION_OPENED, Kind.SESSION_LOST]],
  ["Yours and alerts", [Kind.USER, Kind.ALERT, Kind.PROGRESS, Kind.DROPPED]],
];

const OUTCOME_GROUPS: readonly [string, readonly number[]][] = [
  ["Any outcome", []],
  ["Failed", [Outcome.ERROR, Outcome.CANCELLED, Outcome.TIMEOUT, Outcome.CRASHED]],
  ...[1, 2, 3, 4, 5].map((outcome): [string, number[]] => [capital(OUTCOMES[outcome] ?? ""), [outcome]]),
  ["Running, or none", [Outcome.NONE]],
];

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

function choice(label: string, groups: readonly [string, unknown][]): HTMLSelectElement {
  const made = h("select", { "aria-label": label, title: label });
  for (const [at, [word]] of groups.entries()) made.append(h("option", { value: at }, word));
  return made;
}

export class Toolbar {
  readonly root: HTMLElement;
  readonly search = h("input", {
    type: "search",
    placeholder: "Job or name",
    "aria-label": "Filter by job or name",
    title: "Filter by job or name (/)",
    spellcheck: "false",
    autocomplete: "off",
  });
  readonly #follow: HTMLButtonElement;
  readonly #pause: HTMLButtonElement;
  readonly #lane = h("select", { "aria-label": "Filter by worker", title: "Filter by worker" });
  readonly #kind = choice("Filter by event", KIND_GROUPS);
  readonly #outcome = choice("Filter by outcome", OUTCOME_GROUPS);
  #lanes = "";

  constructor(
    private readonly store: Store,
    private readonly look: Look,
    last: readonly HTMLElement[],
  ) {
    this.#follow = h("button", { type: "button", title: "Follow what happens now (f)", click: () => look.toggleFollow() }, "Follow");
    this.#pause = h("button", { type: "button", title: "Hold the picture; nothing is lost (p)", click: () => look.togglePause() }, "Pause");
    const tool = (sign: string, label: string, click: () => void): HTMLButtonElement =>
      h("button", { type: "button", class: "sign", "aria-label": label, title: label, click }, sign);
    const changed = (): void => this.look.filtered(this.filter());
    for (const select of [this.#lane, this.#kind, this.#outcome]) select.addEventListener("change", changed);
    this.search.addEventListener("input", changed);
    this.root = h(
      "div",
      { class: "bar", role: "group", "aria-label": "View" },
      h("div", { class: "set" }, this.#follow, this.#pause),
      h(
        "div",
        { class: "set" },
        tool("−", "Zoom out (-)", () => look.zoom(1 / 1.5)),
        tool("+", "Zoom in (+)", () => look.zoom(1.5)),
        h("button", { type: "button", title: "Show all (0)", click: () => look.fit() }, "Fit"),
      ),
      h("div", { class: "set filters" }, this.#lane, this.#kind, this.#outcome, this.search),
      h("div", { class: "set last" }, ...last),
    );
    this.draw();
  }

  filter(): Filter {
    const lane = this.#lane.value;
    return {
      lanes: new Set(lane === "" ? [] : [Number(lane)]),
      kinds: new Set(KIND_GROUPS[Number(this.#kind.value)]?.[1] ?? []),
      outcomes: new Set(OUTCOME_GROUPS[Number(this.#outcome.value)]?.[1] ?? []),
      text: this.search.value,
    };
  }

  /** Shows all again; true where something had been left out. */
  clear(): boolean {
    const was = this.#lane.value !== "" || this.#kind.value !== "0" || this.#outcome.value !== "0" || this.search.value !== "";
    this.#lane.value = "";
    this.#kind.value = this.#outcome.value = "0";
    this.search.value = "";
    if (was) this.look.filtered(this.filter());
    return was;
  }

  draw(): void {
    attribute(this.#follow, "aria-pressed", String(this.look.follow));
    attribute(this.#pause, "aria-pressed", String(this.look.paused));
    const labels = this.store.lanes.map((lane) => `${lane.lane}:${lane.label}`).join("\n");
    if (this.#lanes === labels && this.#lane.options.length > 0) return;
    this.#lanes = labels;
    const chosen = this.#lane.value;
    this.#lane.replaceChildren(h("option", { value: "" }, "All workers"));
    for (const { lane, label } of ordered(this.store.lanes)) this.#lane.append(h("option", { value: lane }, visible(label, 60)));
    this.#lane.value = chosen;
    if (this.#lane.value === chosen) return;
    // The worker that was looked at is no more.
    this.#lane.value = "";
    this.look.filtered(this.filter());
  }
}
