/**
 * Elements made in one expression, and text made fit to be shown.
 *
 * Rule: text reaches the page as a text node or an attribute, never as markup.
 */

type Value = string | number | boolean | null | undefined | ((event: never) => void);
type Child = Node | string | null;

/** An element; a function becomes a listener, `true` an empty attribute, `false` and `null` none. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, Value> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value as unknown as EventListener);
    else attribute(made, name, value);
  }
  for (const child of children) if (child !== null) made.append(child);
  return made;
}

/** Sets, changes or removes an attribute, and leaves the page alone where it is so already. */
export function attribute(element: Element, name: string, value: Exclude<Value, (event: never) => void>): void {
  const wanted = value === true ? "" : value === false || value == null ? null : String(value);
  if (element.getAttribute(name) === wanted) return;
  if (wanted === null) element.removeAttribute(name);
  else element.setAttribute(name, wanted);
}

/** A change of text that is none costs nothing, and does not disturb a reader's place. */
export function write(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

let made = 0;
/** A name for `aria-controls` and the like; two views of one page must not share one. */
export function unique(word: string): string {
  made += 1;
  return `snakepit-nb-${word}-${made}`;
}

// C0 but tab and newline, DEL and C1; the marks, embeddings, overrides and isolates that turn the reading
// direction; the zero-width space and line separators (the joiners belong to words and emoji).
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** The text on one line with what cannot be seen written out, cut at `limit` characters. */
export function visible(text: string, limit = 200): string {
  return visibleLines(text.length > 4 * limit ? text.slice(0, 4 * limit) : text, limit).replace(/[\t\n]+/g, " ");
}

/** The same for text of several lines. */
export function visibleLines(text: string, limit = 20_000): string {
  const cut = text.length > limit ? `${text.slice(0, limit)}…` : text;
  return cut.replace(UNSEEN, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
