import "./page";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { followTheme, themeOf, watch } from "../../src/view/host";

const host = document.createElement("div");

beforeEach(() => document.body.append(host));
afterEach(() => {
  for (const name of ["data-jp-theme-light", "data-vscode-theme-kind"]) document.body.removeAttribute(name);
  document.documentElement.removeAttribute("data-theme");
  vi.unstubAllGlobals();
});

describe("the theme", () => {
  it("is the host's: JupyterLab's, VS Code's, the page's, or else the system's", () => {
    expect(themeOf(host)).toBe("light");
    vi.stubGlobal("matchMedia", () => ({ matches: true }));
    expect(themeOf(host)).toBe("dark");
    document.documentElement.dataset["theme"] = "light";
    expect(themeOf(host)).toBe("light");
    document.body.dataset["vscodeThemeKind"] = "vscode-high-contrast";
    expect(themeOf(host)).toBe("dark");
    document.body.dataset["vscodeThemeKind"] = "vscode-high-contrast-light";
    expect(themeOf(host)).toBe("light");
    document.body.dataset["jpThemeLight"] = "false";
    expect(themeOf(host)).toBe("dark");
  });

  it("is followed when it changes", async () => {
    const changed = vi.fn();
    const end = followTheme(host, changed);
    expect(host.dataset["theme"]).toBe("light");
    document.body.dataset["jpThemeLight"] = "false";
    await vi.waitFor(() => expect(host.dataset["theme"]).toBe("dark"));
    expect(changed).toHaveBeenCalled();
    end();
  });
});

describe("whether it is seen", () => {
  it("is what the window shows of it: a view that the notebook took out is not", async () => {
    let tell: (entries: { isIntersecting: boolean }[]) => void = () => undefined;
    vi.stubGlobal(
      "IntersectionObserver",
      class {
        constructor(heard: typeof tell) {
          tell = heard;
        }
        observe(): void {}
        disconnect(): void {}
      },
    );
    const told: boolean[] = [];
    const end = watch(host, (seen) => told.push(seen));
    tell([{ isIntersecting: true }]);
    tell([{ isIntersecting: true }]);
    tell([{ isIntersecting: false }]);
    tell([{ isIntersecting: true }]);
    end();
    expect(told).toEqual([true, false, true, false]);
  });
});

