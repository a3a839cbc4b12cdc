/**
 * The report in the place of the timeline, put there by the page itself.
 *
 * The kernel replaces its outputs as long as the page knows which are its own. JupyterLab forgets that when a kernel
 * is restarted and when the page is reloaded; and a kernel that is killed replaces nothing. What the notebook
 * would be saved with then is a model that no longer is anywhere.
 */
import type { Report } from "./protocol";

const VIEW = "application/vnd.jupyter.widget-view+json";
const GONE = new Set(["restarting", "autorestarting", "dead"]);

interface Bundle {
  data?: Record<string, unknown>;
}

interface Outputs {
  readonly length: number;
  get(index: number): { toJSON(): Bundle };
  set(index: number, output: Bundle): void;
}

interface Signal {
  connect(heard: (from: unknown, status: string) => void): void;
  disconnect(heard: (from: unknown, status: string) => void): void;
}

/** As much of JupyterLab's manager of widgets as is used here; elsewhere there is another one, or none. */
export interface Manager {
  context?: {
    model?: { cells?: Iterable<{ outputs?: Outputs }> };
    sessionContext?: { statusChanged?: Signal };
  };
}

/** In every output that shows the model; how many these were. Those that show it inside of another widget stay. */
export function replace(manager: Manager | undefined, report: Report): number {
  let replaced = 0;
  for (const { outputs } of manager?.context?.model?.cells ?? []) {
    for (let i = 0; outputs && i < outputs.length; i++) {
      const output = outputs.get(i).toJSON();
      const view = output.data?.[VIEW] as { model_id?: unknown } | undefined;
      if (view?.model_id !== report.model) continue;
      outputs.set(i, { ...output, data: { "text/plain": report.text, "text/html": report.html } });
      replaced += 1;
    }
  }
  return replaced;
}

/** Call `gone` when the kernel of the notebook is no more what it was; until the function that is returned is called. */
export function watchKernel(manager: Manager | undefined, gone: () => void): () => void {
  const signal = manager?.context?.sessionContext?.statusChanged;
  const heard = (_: unknown, status: string): void => {
    if (GONE.has(status)) gone();
  };
  signal?.connect(heard);
  return () => signal?.disconnect(heard);
}
