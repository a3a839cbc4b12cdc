/** What the page around the view says: light or dark, looked at or not, and no key for itself. */

/** "dark" or "light", as JupyterLab, VS Code, or else the reader's system has it. */
export function themeOf(host: Element): "dark" | "light" {
  const { body, documentElement } = host.ownerDocument;
  const lab = body.dataset["jpThemeLight"];
  if (lab !== undefined) return lab === "false" ? "dark" : "light";
  const code = body.dataset["vscodeThemeKind"];
  if (code !== undefined) return /dark|high-contrast$/.test(code) ? "dark" : "light";
  const said = documentElement.dataset["theme"] ?? documentElement.getAttribute("theme");
  if (said === "dark" || said === "light") return said;
  return globalThis.matchMedia?.("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Keeps `data-theme` of the host as the page has it, and tells of every change. */
export function followTheme(host: HTMLElement, changed: () => void): () => void {
  const look = (): void => {
    const theme = themeOf(host);
    if (host.dataset["theme"] === theme) return;
    host.dataset["theme"] = theme;
    changed();
  };
  look();
  const { body, documentElement } = host.ownerDocument;
  // The sheet of a new theme may come after the attribute that names it.
  const seen = new MutationObserver(() => {
    look();
    changed();
  });
  for (const node of [body, documentElement]) {
    seen.observe(node, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind", "data-theme", "theme"] });
  }
  const scheme = globalThis.matchMedia?.("(prefers-color-scheme: dark)");
  scheme?.addEventListener("change", look);
  return () => {
    seen.disconnect();
    scheme?.removeEventListener("change", look);
  };
}

/**
 * Tells whether the host can be seen: in the window, of a page that is in front.
 * A host that the notebook took out of the page (it does so with cells out of sight) cannot.
 */
export function watch(host: HTMLElement, told: (seen: boolean) => void): () => void {
  const page = host.ownerDocument;
  const view = page.defaultView;
  let there = typeof IntersectionObserver === "undefined";
  let gone = false;
  let last: boolean | null = null;
  const tell = (): void => {
    const seen = there && !gone && page.visibilityState !== "hidden";
    if (seen === last) return;
    last = seen;
    told(seen);
  };
  const observer = there
    ? null
    : new IntersectionObserver((entries) => {
        there = entries.at(-1)?.isIntersecting ?? false;
        tell();
      });
  observer?.observe(host);
  const hide = (): void => {
    gone = true;
    tell();
  };
  const show = (): void => {
    gone = false;
    tell();
  };
  page.addEventListener("visibilitychange", tell);
  view?.addEventListener("pagehide", hide);
  view?.addEventListener("pageshow", show);
  if (there) tell();
  return () => {
    observer?.disconnect();
    page.removeEventListener("visibilitychange", tell);
    view?.removeEventListener("pagehide", hide);
    view?.removeEventListener("pageshow", show);
    there = false;
    tell();
  };
}
