/** Which rows a filter lets through: the same for the canvas, the table and the statistics. */
import { Kind } from "../protocol";
import type { Fields, Filter } from "../store";

export const EVERYTHING: Filter = { lanes: new Set(), kinds: new Set(), outcomes: new Set(), text: "" };

/** Remembers which names hold the text, so that a row costs a look-up and no search. */
export class Sieve {
  readonly all: boolean;
  private readonly wanted: string;
  private readonly known: Uint8Array;

  /** Good for as long as neither filter nor dictionary change. */
  constructor(
    private readonly filter: Filter,
    private readonly text: (name: number) => string,
  ) {
    this.wanted = filter.text.trim().toLocaleLowerCase();
    this.all = filter.lanes.size + filter.kinds.size + filter.outcomes.size === 0 && this.wanted === "";
    this.known = new Uint8Array(this.wanted === "" ? 0 : 0x10000);
  }

  lets(rows: Fields, i: number): boolean {
    return this.all || this.letsValues(rows.lane(i), rows.kind(i), rows.outcome(i), rows.name(i));
  }

  /** An outcome that is asked for hides what has none. */
  letsValues(lane: number, kind: number, outcome: number, name: number): boolean {
    const { lanes, kinds, outcomes } = this.filter;
    if (lanes.size > 0 && !lanes.has(lane)) return false;
    if (kinds.size > 0 && !kinds.has(kind)) return false;
    if (outcomes.size > 0 && !outcomes.has(outcome)) return false;
    return this.wanted === "" || this.holds(name);
  }

  /** For requests of which only their number is known: a text that is asked for cannot be found in them. */
  letsSum(lane: number, outcome: number): boolean {
    const { lanes, kinds, outcomes } = this.filter;
    if (this.all) return true;
    if (this.wanted !== "" || (lanes.size > 0 && !lanes.has(lane))) return false;
    return (kinds.size === 0 || kinds.has(Kind.REQUEST)) && (outcomes.size === 0 || outcomes.has(outcome));
  }

  private holds(name: number): boolean {
    if (this.known[name] === 0) this.known[name] = this.text(name).toLocaleLowerCase().includes(this.wanted) ? 1 : 2;
    return this.known[name] === 1;
  }
}
