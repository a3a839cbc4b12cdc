/** Text from data made fit to be shown: it can be seen whole, and it is not long. */

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
