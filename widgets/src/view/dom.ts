/**
 * Elements made in one expression.
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
