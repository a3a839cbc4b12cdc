/** What the page calls: `initialize` and `render` of the widget, `standalone` of a page without a kernel. */
import { LiveStore } from "./data/store";
import { replace, watchKernel } from "./notebook";
import type { Manager } from "./notebook";
import type { Batch, FromKernel, Report, ToKernel } from "./protocol";
import { mount } from "./view/app";
import type { Options } from "./view/app";
import { unique } from "./view/dom";

/** As much of an ipywidgets model as is used here. */
interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(content: unknown): void;
  on(name: string, heard: (...told: never[]) => void): void;
  off(name: string, heard: (...told: never[]) => void): void;
  widget_manager?: unknown;
}

const TRAITS = ["mini", "height", "follow", "window", "selection", "ended"] as const;
const PING = 5000;

function optionsOf(model: Model): Options {
  const { mini, height, follow, window, selection, ended } = Object.fromEntries(TRAITS.map((name) => [name, model.get(name)]));
  return {
    mini: mini === true,
    height: Number(height) || 0,
    standalone: false,
    recorded: model.get("recorded") === true,
    follow: follow !== false,
    window: Number(window) || 0,
    selection: Array.isArray(selection) ? selection.map(Number) : [],
    ended: typeof ended === "string" ? ended : "",
  };
}

/**
 * Called once for each model; hands out its hooks. The store lives here and not on `model`, which is another
 * object in `render` than in `initialize`.
 */
export default function widget(): {
  initialize(given: { model: Model }): () => void;
  render(given: { model: Model; el: HTMLElement }): () => void;
} {
  let store: LiveStore | null = null;
  let report: Report | null = null;
  let unwatch = (): void => undefined;

  function listen(model: Model): LiveStore {
    // In a recording no time passes, and a kernel that says nothing is not silent.
    const clock = model.get("recorded") === true ? (): number => 0 : undefined;
    const made = new LiveStore({ send: (message: ToKernel) => model.send(message) }, clock);
    const manager = model.widget_manager as Manager | undefined;
    const leave = (): void => {
      if (report) replace(manager, report);
    };
    model.on("msg:custom", (content: FromKernel, buffers: DataView[]) => {
      if (content.type === "report") report = content;
      else made.receive(content, buffers ?? []);
    });
    model.on("change:ended", leave);
    unwatch = watchKernel(manager, leave);
    store = made;
    return made;
  }

  return {
    initialize({ model }) {
      const made = listen(model);
      return () => {
        unwatch();
        made.dispose();
      };
    },

    render({ model, el }) {
      const live = store ?? listen(model);
      // A number would be the same in two pages on one kernel.
      const view = globalThis.crypto?.randomUUID?.() ?? `${unique("view")}-${Math.random()}`;
      let pings: ReturnType<typeof setInterval> | undefined;
      live.send({ verb: "hello", view });
      const keep = (name: string, value: unknown): void => {
        model.set(name, value);
        model.save_changes();
      };
      const app = mount(el, live, optionsOf(model), {
        follow: (on) => keep("follow", on),
        selection: (span) => keep("selection", span),
        seen: (on) => {
          live.send({ verb: "visible", view, on });
          clearInterval(pings);
          if (on) pings = setInterval(() => live.send({ verb: "ping", view }), PING);
        },
      });
      const heard = TRAITS.map((name) => {
        const changed = (): void => app.set({ [name]: optionsOf(model)[name] });
        model.on(`change:${name}`, changed);
        return [`change:${name}`, changed] as const;
      });
      return () => {
        app.close();
        clearInterval(pings);
        for (const [name, changed] of heard) model.off(name, changed);
      };
    },
  };
}

/** The same timeline of one keyframe, on a page that no kernel stands behind. */
export function standalone(host: HTMLElement, content: Batch, buffers: DataView[]): void {
  // A clock that stands: what nobody tells is not silent.
  const store = new LiveStore(null, () => 0);
  store.receive(content, buffers);
  mount(host, store, { mini: false, height: 0, standalone: true, follow: false });
}
