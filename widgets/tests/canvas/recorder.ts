/** A 2D context that draws nothing and remembers what it was told, with the style of the moment. */
import type { Surface } from "../../src/canvas/frame";
import type { Ctx } from "../../src/canvas/glyphs";

export interface Call {
  name: string;
  args: unknown[];
  fill: unknown;
  stroke: unknown;
  alpha: number;
}

export interface Recorder {
  ctx: Ctx;
  calls: Call[];
  named(name: string): Call[];
}

export function recorder(): Recorder {
  const calls: Call[] = [];
  const state: Record<string, unknown> = { fillStyle: "", strokeStyle: "", globalAlpha: 1 };
  const ctx = new Proxy(state, {
    get(target, key: string) {
      if (key in target) return target[key];
      return (...args: unknown[]) => {
        calls.push({ name: key, args, fill: state["fillStyle"], stroke: state["strokeStyle"], alpha: Number(state["globalAlpha"]) });
        if (key === "measureText") return { width: 6 * String(args[0]).length };
        return undefined;
      };
    },
    set(target, key: string, value) {
      target[key] = value;
      return true;
    },
  }) as unknown as Ctx;
  return { ctx, calls, named: (name) => calls.filter((call) => call.name === name) };
}

/** A pattern is told by its name, and there are neither pixels nor stamps: all is drawn by hand. */
export const PLAIN: Surface = {
  pattern: (kind) => ({ kind, setTransform: () => {} }) as unknown as CanvasPattern,
  image: () => null,
  sprite: () => null,
};
