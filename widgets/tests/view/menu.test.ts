import { button, Kernel, pass, words } from "./page";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Menu } from "../../src/view/menu";
import { lanesOf, SUMMARY } from "../synthetic";

let kernel: Kernel;
let menu: Menu;
let saved: { name: string; blob: Blob }[];

beforeEach(() => {
  vi.useFakeTimers();
  saved = [];
  let blob = new Blob();
  URL.createObjectURL = (made) => {
    blob = made as Blob;
    return "blob:made";
  };
  URL.revokeObjectURL = () => undefined;
  vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (this: HTMLAnchorElement) {
    saved.push({ name: this.download, blob });
  });
  kernel = new Kernel();
  kernel.tell({ now: 1, lanes: lanesOf(1), summary: { ...SUMMARY, pool: "../my pool" } });
  menu = new Menu(kernel.store, () => Promise.resolve(new Blob(["png"])), false);
  document.body.append(menu.root);
});

afterEach(() => {
  kernel.store.dispose();
  document.body.replaceChildren();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

describe("files", () => {
  it("are the kernel's, saved under its name, in no other folder", async () => {
    button("Events (CSV)").click();
    const { ask, format } = kernel.asked("export").at(-1)!;
    expect(format).toBe("csv");
    const data = new DataView(new TextEncoder().encode("xxa,b").buffer, 2);
    kernel.store.receive({ type: "file", ask, ok: true, text: "", name: "../pool.csv", mime: "text/csv" }, [data]);
    await pass(0);
    expect(saved[0]!.name).toBe(".._pool.csv");
    expect(saved[0]!.blob).toMatchObject({ size: 3, type: "text/csv" });
    expect(words(menu.root)).toContain("Events (CSV): saved");
  });

  it("that cannot be made say why", async () => {
    button("Events (Parquet)").click();
    kernel.answer({ type: "file", ask: kernel.asked("export").at(-1)!.ask, ok: false, text: "pyarrow is missing: <i>install</i> it", name: "", mime: "" });
    await pass(0);
    expect(saved).toEqual([]);
    expect(words(menu.root)).toContain("pyarrow is missing: <i>install</i> it");
    expect(menu.root.querySelector("i")).toBeNull();
  });

  it("of the picture need no kernel", async () => {
    button("Picture (PNG)").click();
    await pass(0);
    expect(saved[0]!.name).toBe("_my_pool.png");
    expect(kernel.asked("export")).toEqual([]);
  });
});
