/** What lies under the pointer, or has the focus of the keys, in a few words beside it. */
import type { Hit, Store } from "../store";
import { h, write } from "./dom";
import { clock, duration } from "./format";
import { extraOf, kindOf, laneOf, outcomeOf } from "./row";
import type { Row } from "./row";

export class Tip {
  // For the eye alone: the same is said by `aria-activedescendant`.
  readonly root = h("div", { class: "tip", "aria-hidden": "true" }, h("strong"), h("span"), h("span"));

  constructor() {
    this.root.hidden = true;
  }

  hide(): void {
    this.root.hidden = true;
  }

  show(store: Store, row: Row | null, hit: Hit | null, around: HTMLElement): void {
    this.root.hidden = row === null || hit === null;
    if (row === null || hit === null) return;
    const [title, first, second] = this.root.children as unknown as [Element, Element, Element];
    write(title, `${hit.count > 1 ? `${hit.count} × ` : ""}${row.name === "" ? kindOf(row) : row.name}`);
    const what = [row.name === "" ? "" : kindOf(row), outcomeOf(row), row.dur > 0 ? duration(row.dur) : "", extraOf(row)];
    write(first, what.filter((part) => part !== "").join(" · "));
    write(second, `${laneOf(store, row.lane)} · ${clock(store.originMs + row.t * 1000)}`);
    const width = around.clientWidth;
    const x = Math.min(Math.max(4, hit.x + 12), Math.max(4, width - this.root.offsetWidth - 4));
    const below = hit.y + 16;
    const y = below + this.root.offsetHeight > around.clientHeight + 40 ? hit.y - this.root.offsetHeight - 10 : below;
    this.root.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
  }
}
