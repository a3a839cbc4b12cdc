/**
 * What can be done to the pool. Nothing is done here: the kernel is asked, and what it answers is told.
 *
 * Rule: a question that is not answered yet is shown as such; what cannot be done says why.
 */
import { visible } from "../data/visible";
import type { Action } from "../protocol";
import type { Store } from "../store";
import { attribute, h, unique, write } from "./dom";
import { many } from "./format";
import { LINKS } from "./header";

/** How many workers can be asked for: the kernel takes no other number. */
const FEWEST = 1;
const MOST = 256;

export class Controls {
  readonly root: HTMLElement;
  /** Why nothing can be done any more; "" while the pool lives. */
  ended = "";
  readonly #wanted: HTMLInputElement;
  readonly #apply: HTMLButtonElement;
  readonly #recycle: HTMLButtonElement;
  readonly #which = h("select", { "aria-label": "Which worker to recycle" });
  readonly #stop: HTMLButtonElement;
  readonly #sure = h("span", { class: "sure", role: "group", "aria-label": "Stop the pool?" });
  readonly #ask = h("span", {});
  readonly #yes: HTMLButtonElement;
  readonly #reason: HTMLElement;
  readonly #status = h("p", { class: "status", role: "status" });
  readonly #able: (HTMLButtonElement | HTMLInputElement | HTMLSelectElement)[] = [];
  readonly #pending = new Map<string, string>();
  #answer = "";
  #bad = false;
  #edited = false;

  constructor(private readonly store: Store) {
    const reason = unique("reason");
    this.#reason = h("p", { class: "reason", id: reason });
    this.#wanted = h("input", { type: "number", min: FEWEST, max: MOST, step: 1, "aria-label": "Workers wanted", "aria-describedby": reason });
    this.#wanted.addEventListener("input", () => this.#edit());
    this.#wanted.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !this.#apply.disabled) this.#scale();
    });
    const button = (word: string, title: string, click: () => void, kind = ""): HTMLButtonElement => {
      const made = h("button", { type: "button", class: kind, "data-title": title, "aria-describedby": reason, click }, word);
      this.#able.push(made);
      return made;
    };
    const fewer = button("−", "One worker fewer", () => this.#step(-1), "sign");
    const more = button("+", "One worker more", () => this.#step(1), "sign");
    attribute(fewer, "aria-label", "One worker fewer");
    attribute(more, "aria-label", "One worker more");
    this.#apply = button("Apply", "Scale the pool to this many workers", () => this.#scale());
    this.#recycle = button("Recycle all", "Replace the worker when its request has ended; no request is lost", () => {
      const worker = this.#which.value === "" ? null : this.#which.value;
      void this.act({ action: "recycle", worker }, `Recycling ${worker === null ? "all workers" : visible(worker, 60)}`);
    });
    this.#which.addEventListener("change", () => this.draw());
    this.#stop = button("Stop pool", "Stop the pool and all its workers", () => this.#asks(true), "danger");
    this.#yes = button("Stop it", "Stop the pool and all its workers", () => this.#stopped(), "danger");
    const no = h("button", { type: "button", click: () => this.#asks(false) }, "Keep it");
    this.#sure.append(this.#ask, this.#yes, no);
    this.#sure.hidden = true;
    this.#able.push(this.#wanted, this.#which);
    this.root = h(
      "footer",
      { role: "group", "aria-label": "Controls of the pool" },
      h("div", { class: "set scale" }, h("span", { class: "label" }, "Workers"), fewer, this.#wanted, more, this.#apply),
      h("div", { class: "set" }, this.#recycle, this.#which),
      this.#stop,
      this.#sure,
      h("div", { class: "told" }, this.#reason, this.#status),
    );
    this.draw();
  }

  /** Why nothing can be done now; "" where it can. */
  get disabled(): string {
    if (this.ended !== "") return visible(this.ended);
    if (this.store.link === "silent") return LINKS.silent;
    if (this.store.summary?.state === "stopped") return "the pool has stopped";
    return "";
  }

  /** Asks the kernel; the promise ends when it has answered, or cannot. */
  async act(action: Action, words: string): Promise<boolean> {
    const key = JSON.stringify(action);
    if (this.disabled !== "" || this.#pending.has(key)) return false;
    this.#pending.set(key, words);
    this.draw();
    try {
      const done = await this.store.act(action);
      this.#answer = visible(done.text === "" ? `${words}: ${done.ok ? "done" : "it could not be done"}` : done.text, 400);
      this.#bad = !done.ok;
      return done.ok;
    } catch (error) {
      this.#answer = `${words}: ${visible(error instanceof Error ? error.message : String(error))}`;
      this.#bad = true;
      return false;
    } finally {
      this.#pending.delete(key);
      this.draw();
    }
  }

  /** True where a question stood open and is now closed. */
  escape(): boolean {
    if (this.#sure.hidden) return false;
    this.#asks(false);
    return true;
  }

  draw(): void {
    const reason = this.disabled;
    for (const control of this.#able) {
      control.disabled = reason !== "" || (control === this.#apply && !this.#edited);
      const title = control.getAttribute("data-title");
      attribute(control, "title", reason === "" ? title : `Not possible: ${reason}`);
    }
    const target = this.store.summary?.workers.target;
    if (!this.#edited && target !== undefined && document.activeElement !== this.#wanted) this.#wanted.value = String(target);
    this.#choices();
    write(this.#reason, reason === "" ? "" : `Nothing can be done: ${reason}.`);
    this.#reason.hidden = reason === "";
    const waiting = [...this.#pending.values()].at(-1);
    attribute(this.root, "aria-busy", waiting === undefined ? null : "true");
    attribute(this.#status, "data-bad", this.#bad && waiting === undefined);
    write(this.#status, waiting === undefined ? this.#answer : `${waiting}: waiting for the kernel${this.store.link === "waiting" ? ", which is busy" : ""}…`);
    if (!this.#sure.hidden) write(this.#ask, this.#question());
  }

  /** The workers there are; one that is gone is chosen no more. */
  #choices(): void {
    const wanted = [""];
    for (const { worker } of this.store.lanes) if (worker !== null) wanted.push(worker);
    const chosen = this.#which.value;
    if ([...this.#which.options].map((option) => option.value).join("\n") !== wanted.join("\n")) {
      this.#which.replaceChildren(...wanted.map((worker) => h("option", { value: worker }, worker === "" ? "every worker" : visible(worker, 60))));
      this.#which.value = wanted.includes(chosen) ? chosen : "";
    }
    write(this.#recycle, `Recycle ${this.#which.value === "" ? "all" : visible(this.#which.value, 60)}`);
  }

  #question(): string {
    const running = this.store.open.length;
    const queued = this.store.summary?.queued ?? 0;
    const parts = [running > 0 ? `${many(running, "request")} run${running === 1 ? "s" : ""}` : "", queued > 0 ? `${queued} wait${queued === 1 ? "s" : ""}` : ""];
    const what = parts.filter((part) => part !== "").join(", ");
    return `Stop the pool?${what === "" ? "" : ` ${what}.`}`;
  }

  #edit(): void {
    const value = this.#wanted.valueAsNumber;
    this.#edited = Number.isInteger(value) && value >= FEWEST && value <= MOST && value !== this.store.summary?.workers.target;
    this.draw();
  }

  #step(by: number): void {
    const now = Number.isInteger(this.#wanted.valueAsNumber) ? this.#wanted.valueAsNumber : 0;
    this.#wanted.value = String(Math.min(MOST, Math.max(FEWEST, now + by)));
    this.#edit();
  }

  #scale(): void {
    const workers = this.#wanted.valueAsNumber;
    if (!Number.isInteger(workers) || workers < 0) return;
    this.#edited = false;
    void this.act({ action: "scale", workers }, `Scaling to ${many(workers, "worker")}`);
  }

  #asks(open: boolean): void {
    this.#sure.hidden = !open;
    this.#stop.hidden = open;
    this.draw();
    (open ? this.#yes : this.#stop).focus();
  }

  #stopped(): void {
    this.#asks(false);
    void this.act({ action: "stop" }, "Stopping the pool");
  }
}
