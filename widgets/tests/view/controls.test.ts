import { button, Kernel, pass, words } from "./page";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Controls } from "../../src/view/controls";
import { lanesOf, SUMMARY } from "../synthetic";

let kernel: Kernel;
let controls: Controls;

beforeEach(() => {
  vi.useFakeTimers();
  kernel = new Kernel();
  kernel.tell({ now: 1, lanes: lanesOf(2), open: [[1, 1, 0, 1, 0, 0, 5], [2, 2, 0, 1, 0, 0, 6]], summary: SUMMARY });
  controls = new Controls(kernel.store);
  document.body.append(controls.root);
});

afterEach(() => {
  kernel.store.dispose();
  document.body.replaceChildren();
  vi.useRealTimers();
});

const status = (): string => controls.root.querySelector("[role=status]")!.textContent!;
const wanted = (): HTMLInputElement => controls.root.querySelector("input")!;

describe("controls", () => {
  it("scales only when told to apply, by as many as were set", () => {
    expect(wanted().value).toBe("2");
    expect(button("Apply").disabled).toBe(true);
    button("One worker more").click();
    button("One worker more").click();
    button("One worker more").click();
    button("One worker fewer").click();
    expect(kernel.asked("do")).toEqual([]);
    button("Apply").click();
    expect(kernel.asked("do")).toEqual([expect.objectContaining({ verb: "do", action: "scale", workers: 4 })]);
  });

  it("keeps what was typed while news come", () => {
    wanted().value = "7";
    wanted().dispatchEvent(new Event("input"));
    kernel.tell({ now: 2, lanes: lanesOf(2), summary: SUMMARY });
    controls.draw();
    expect(wanted().value).toBe("7");
  });

  it("refuses what is no number of workers", () => {
    for (const typed of ["", "-1", "1.5"]) {
      wanted().value = typed;
      wanted().dispatchEvent(new Event("input"));
      expect(button("Apply").disabled).toBe(true);
    }
  });

  it("shows that it waits, why, and the answer", async () => {
    button("Recycle all").click();
    expect(status()).toBe("Recycling all workers: waiting for the kernel…");
    // The kernel still sends; only its answer is late.
    await pass(1500);
    kernel.tell({ now: 2, lanes: lanesOf(2), summary: SUMMARY });
    controls.draw();
    expect(status()).toContain("waiting for the kernel, which is busy");
    button("Recycle all").click();
    expect(kernel.asked("do")).toHaveLength(1);
    kernel.answer({ type: "done", ask: kernel.asked("do")[0]!.ask, ok: false, text: "the pool is <b>closing</b>" });
    await pass(0);
    expect(status()).toBe("the pool is <b>closing</b>");
    expect(controls.root.querySelector("b")).toBeNull();
  });

  it("recycles one worker that was chosen, and no longer than there is one", () => {
    const which = controls.root.querySelector("select")!;
    expect([...which.options].map((option) => option.textContent)).toEqual(["every worker", "default-1.1", "default-2.1"]);
    which.value = "default-2.1";
    which.dispatchEvent(new Event("change"));
    button("Recycle default-2.1").click();
    expect(kernel.asked("do")).toEqual([expect.objectContaining({ action: "recycle", worker: "default-2.1" })]);
    kernel.tell({ now: 2, lanes: lanesOf(1), summary: SUMMARY });
    controls.draw();
    expect(button("Recycle all").disabled).toBe(false);
  });

  it("asks once before it stops the pool, and can be told no", () => {
    button("Stop pool").click();
    expect(words(controls.root)).toContain("Stop the pool? 2 requests run");
    expect(kernel.asked("do")).toEqual([]);
    button("Keep it").click();
    expect(words(controls.root)).not.toContain("Stop the pool?");
    expect(document.activeElement).toBe(button("Stop pool"));
    button("Stop pool").click();
    button("Stop it").click();
    expect(kernel.asked("do")).toEqual([expect.objectContaining({ action: "stop" })]);
  });

  it("says why it can do nothing, in sight and at the button", () => {
    controls.ended = "the kernel was restarted";
    controls.draw();
    for (const name of ["One worker more", "Recycle all", "Stop pool"]) {
      expect(button(name).disabled).toBe(true);
      expect(button(name).title).toBe("Not possible: the kernel was restarted");
    }
    expect(words(controls.root)).toContain("Nothing can be done: the kernel was restarted.");
    expect(document.getElementById(button("Recycle all").getAttribute("aria-describedby")!)!.textContent).toContain("restarted");
  });
});
