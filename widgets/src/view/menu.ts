/** Files to take away: what the kernel makes, and the picture as it stands. */
import { visible } from "../data/visible";
import type { Store } from "../store";
import { h, write } from "./dom";

const FORMATS: readonly [string, string][] = [
  ["trace", "Trace for Perfetto"],
  ["html", "Page that works alone (HTML)"],
  ["svg", "Picture (SVG)"],
  ["csv", "Events (CSV)"],
  ["parquet", "Events (Parquet)"],
  ["arrow", "Events (Arrow)"],
];

export class Menu {
  readonly root: HTMLDetailsElement;
  readonly status = h("p", { class: "faint", role: "status" });

  constructor(
    private readonly store: Store,
    private readonly png: () => Promise<Blob>,
    standalone: boolean,
  ) {
    const items = standalone ? [] : FORMATS.map(([format, word]) => this.#item(word, () => this.#file(format)));
    items.push(this.#item("Picture (PNG)", async () => save(await this.png(), this.#name("png"))));
    this.root = h("details", { class: "menu" }, h("summary", { title: "Save as a file" }, "Export"), h("div", {}, ...items, this.status));
  }

  /** True where it was open. */
  escape(): boolean {
    if (!this.root.open) return false;
    this.root.open = false;
    this.root.querySelector("summary")?.focus();
    return true;
  }

  #name(ending: string): string {
    return `${(this.store.summary?.pool ?? "pool").replace(/[^\w-]+/g, "_").slice(0, 60) || "pool"}.${ending}`;
  }

  #item(word: string, make: () => Promise<void>): HTMLElement {
    const click = async (): Promise<void> => {
      write(this.status, `${word}: asking for it…`);
      try {
        await make();
        write(this.status, `${word}: saved`);
      } catch (error) {
        write(this.status, `${word}: ${visible(error instanceof Error ? error.message : String(error))}`);
      }
    };
    return h("button", { type: "button", click: () => void click() }, word);
  }

  async #file(format: string): Promise<void> {
    const { message, data } = await this.store.file(format);
    if (!message.ok || data === null) throw new Error(message.text === "" ? "the kernel made no file" : message.text);
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    save(new Blob([bytes], { type: message.mime }), message.name.replace(/[\\/]/g, "_"));
  }
}

/** Hands a file to the browser's downloads. */
export function save(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
