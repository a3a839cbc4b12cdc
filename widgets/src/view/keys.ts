/** What the keys do: one table, from which the help is made too. */
import { h } from "./dom";

export interface Hands {
  move(where: "next" | "previous" | "lane-up" | "lane-down" | "first" | "last"): void;
  inspect(): void;
  zoom(factor: number): void;
  /** By a share of what is shown. */
  pan(share: number): void;
  toggleFollow(): void;
  togglePause(): void;
  fit(): void;
  search(): void;
  toggleTable(): void;
  /** Marks the visible span, or the focused row's. */
  select(): void;
  escape(): void;
  toggleHelp(): void;
}

/** Keys, what they do in words, whether only on the picture itself. */
const TABLE: readonly [keys: readonly string[], shown: string, words: string, picture: boolean, act: (hands: Hands) => void][] = [
  [["ArrowRight"], "→", "next row in the lane", true, (hands) => hands.move("next")],
  [["ArrowLeft"], "←", "row before in the lane", true, (hands) => hands.move("previous")],
  [["ArrowUp"], "↑", "lane above", true, (hands) => hands.move("lane-up")],
  [["ArrowDown"], "↓", "lane below", true, (hands) => hands.move("lane-down")],
  [["Home"], "Home", "first row", true, (hands) => hands.move("first")],
  [["End"], "End", "last row", true, (hands) => hands.move("last")],
  [["Enter"], "Enter", "inspect the row", true, (hands) => hands.inspect()],
  [["Shift+ArrowLeft"], "Shift ←", "earlier", true, (hands) => hands.pan(-0.2)],
  [["Shift+ArrowRight"], "Shift →", "later", true, (hands) => hands.pan(0.2)],
  [["+", "="], "+", "zoom in", false, (hands) => hands.zoom(1.5)],
  [["-", "_"], "−", "zoom out", false, (hands) => hands.zoom(1 / 1.5)],
  [["0"], "0", "show all", false, (hands) => hands.fit()],
  [["f"], "f", "follow, or not", false, (hands) => hands.toggleFollow()],
  [["p"], "p", "pause, or go on", false, (hands) => hands.togglePause()],
  [["s"], "s", "select the row's span, or the visible one", false, (hands) => hands.select()],
  [["/"], "/", "filter by text", false, (hands) => hands.search()],
  [["t"], "t", "table of events", false, (hands) => hands.toggleTable()],
  [["Escape"], "Esc", "close, clear", false, (hands) => hands.escape()],
  [["?"], "?", "this list", false, (hands) => hands.toggleHelp()],
];

/** Does what a key means here; false where it means nothing. */
export function press(event: KeyboardEvent, hands: Hands, picture: boolean): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return false;
  const target = event.target;
  const typing = target instanceof HTMLInputElement || target instanceof HTMLSelectElement || target instanceof HTMLTextAreaElement;
  if (typing && event.key !== "Escape") return false;
  const key = event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${event.key}` : event.key;
  const found = TABLE.find(([keys, , , only]) => keys.includes(key) && (picture || !only));
  if (found === undefined) return false;
  event.preventDefault();
  found[4](hands);
  return true;
}

/** The list of keys. */
export function help(): HTMLElement {
  const list = h("dl", { class: "keys" });
  for (const [, shown, words] of TABLE) list.append(h("div", {}, h("dt", {}, h("kbd", {}, shown)), h("dd", {}, words)));
  return list;
}
