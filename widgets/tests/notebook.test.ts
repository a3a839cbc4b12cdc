import { describe, expect, it, vi } from "vitest";
import { replace, watchKernel } from "../src/notebook";
import type { Report } from "../src/protocol";

const VIEW = "application/vnd.jupyter.widget-view+json";
const report: Report = { type: "report", model: "m1", text: "in words", html: "<img>" };

/** A cell's outputs as JupyterLab keeps them. */
function cell(...models: (string | null)[]) {
  const kept = models.map((model) => ({
    output_type: "display_data",
    metadata: {},
    data: { "text/plain": "old", ...(model === null ? {} : { [VIEW]: { model_id: model } }) } as Record<string, unknown>,
  }));
  return {
    kept,
    outputs: {
      length: kept.length,
      get: (i: number) => ({ toJSON: () => kept[i]! }),
      set: (i: number, output: object) => void (kept[i] = output as (typeof kept)[number]),
    },
  };
}

function signal() {
  const ears = new Set<(from: unknown, status: string) => void>();
  return {
    connect: (heard: (from: unknown, status: string) => void) => void ears.add(heard),
    disconnect: (heard: (from: unknown, status: string) => void) => void ears.delete(heard),
    say: (status: string) => ears.forEach((heard) => heard(null, status)),
  };
}

describe("the report in the place of the timeline", () => {
  it("replaces every output that shows the model, and leaves all others alone", () => {
    const [first, last] = [cell("m1", null), cell("other", "m1")];
    const text = { source: "text", outputs: undefined };
    expect(replace({ context: { model: { cells: [first, text as object, last] } } }, report)).toBe(2);
    for (const output of [first.kept[0]!, last.kept[1]!]) {
      expect(output.data).toEqual({ "text/plain": "in words", "text/html": "<img>" });
      expect(output.output_type).toBe("display_data");
    }
    expect(first.kept[1]!.data).toEqual({ "text/plain": "old" });
    expect(last.kept[0]!.data[VIEW]).toEqual({ model_id: "other" });
  });

  it("replaces nothing where the page is not a notebook of JupyterLab", () => {
    for (const manager of [undefined, {}, { context: {} }, { context: { model: {} } }]) {
      expect(replace(manager, report)).toBe(0);
      watchKernel(manager, () => expect.unreachable())();
    }
  });

  it("hears that the kernel is gone, and not that it is busy", () => {
    const statusChanged = signal();
    const gone = vi.fn();
    const stop = watchKernel({ context: { sessionContext: { statusChanged } } }, gone);
    for (const status of ["busy", "idle", "unknown"]) statusChanged.say(status);
    expect(gone).not.toHaveBeenCalled();
    for (const status of ["restarting", "autorestarting", "dead"]) statusChanged.say(status);
    expect(gone).toHaveBeenCalledTimes(3);
    stop();
    statusChanged.say("dead");
    expect(gone).toHaveBeenCalledTimes(3);
  });
});
