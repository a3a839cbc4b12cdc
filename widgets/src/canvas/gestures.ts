/**
 * Pointer and wheel, told as what they mean: pan, zoom, select, pick, hover.
 *
 * Rule: the page keeps its wheel. Only with ctrl, or while the timeline has the focus, does a plain wheel zoom;
 * shift and a sideways wheel pan. One finger pans sideways and leaves up and down to the page; two zoom.
 */
export interface Hands {
  /** By so many pixels; `y` where lanes scroll. */
  drag(x: number, y: number): void;
  zoomAt(factor: number, x: number): void;
  scroll(y: number): void;
  /** From one x to the other while the pointer is down; `done` when it was let go. */
  select(from: number, to: number, done: boolean): void;
  pick(x: number, y: number): void;
  fit(): void;
  /** null: it has left. */
  point(at: { x: number; y: number } | null): void;
  /** Whether a plain wheel is ours. */
  focused(): boolean;
  focus(): void;
}

/** So far a pointer may wander and still be a click, in pixels. */
const CLICK = 4;
const LINE = 16;

interface Down {
  x: number;
  y: number;
  startX: number;
  startY: number;
  moved: boolean;
  selects: boolean;
  /** It goes up or down: lanes scroll, and time stays where it is. */
  upright: boolean;
}

export function listen(target: HTMLElement, hands: Hands): () => void {
  const down = new Map<number, Down>();
  const place = (event: MouseEvent): { x: number; y: number } => {
    const { left, top } = target.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };

  const pointerdown = (event: PointerEvent): void => {
    if (event.button !== 0) return;
    const { x, y } = place(event);
    hands.focus();
    target.setPointerCapture?.(event.pointerId);
    down.set(event.pointerId, { x, y, startX: x, startY: y, moved: false, selects: event.shiftKey, upright: false });
  };

  const pointermove = (event: PointerEvent): void => {
    const at = place(event);
    const mine = down.get(event.pointerId);
    if (mine === undefined) {
      hands.point(at);
      return;
    }
    const [oldX, oldY] = [mine.x, mine.y];
    if (!mine.moved && Math.hypot(at.x - mine.startX, at.y - mine.startY) < CLICK) return;
    if (!mine.moved) mine.upright = Math.abs(at.y - mine.startY) > 2 * Math.abs(at.x - mine.startX);
    mine.moved = true;
    mine.x = at.x;
    mine.y = at.y;
    hands.point(null);
    if (down.size === 2) pinch(mine, oldX);
    else if (mine.selects) hands.select(mine.startX, at.x, false);
    else hands.drag(mine.upright ? 0 : at.x - oldX, at.y - oldY);
  };

  const pinch = (mine: Down, oldX: number): void => {
    const other = [...down.values()].find((one) => one !== mine)!;
    const before = Math.max(10, Math.abs(oldX - other.x));
    const after = Math.max(10, Math.abs(mine.x - other.x));
    hands.zoomAt(after / before, (mine.x + other.x) / 2);
  };

  const pointerup = (event: PointerEvent): void => {
    const mine = down.get(event.pointerId);
    down.delete(event.pointerId);
    if (mine === undefined) return;
    const at = place(event);
    if (mine.selects) hands.select(mine.startX, mine.moved ? at.x : mine.startX, true);
    else if (!mine.moved && event.type === "pointerup") hands.pick(at.x, at.y);
  };

  const wheel = (event: WheelEvent): void => {
    const unit = event.deltaMode === 1 ? LINE : event.deltaMode === 2 ? 400 : 1;
    const [dx, dy] = [event.deltaX * unit, event.deltaY * unit];
    const sideways = Math.abs(dx) > Math.abs(dy) ? dx : event.shiftKey ? dy : 0;
    const { x } = place(event);
    if (sideways !== 0 && !event.ctrlKey) hands.drag(-sideways, 0);
    else if (event.altKey && hands.focused()) hands.scroll(dy);
    else if (event.ctrlKey || event.metaKey || hands.focused()) {
      // A pinch on a touchpad comes as ctrl and small steps.
      const strength = event.ctrlKey && Math.abs(dy) < 50 ? 0.01 : 0.002;
      hands.zoomAt(Math.exp(-Math.max(-300, Math.min(300, dy)) * strength), x);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const leave = (): void => hands.point(null);
  const double = (event: MouseEvent): void => {
    event.preventDefault();
    hands.fit();
  };
  const pairs: [string, (event: never) => void][] = [
    ["pointerdown", pointerdown],
    ["pointermove", pointermove],
    ["pointerup", pointerup],
    ["pointercancel", pointerup],
    ["pointerleave", leave],
    ["wheel", wheel],
    ["dblclick", double],
  ];
  for (const [name, listener] of pairs) target.addEventListener(name, listener as EventListener, { passive: false });
  return () => {
    for (const [name, listener] of pairs) target.removeEventListener(name, listener as EventListener);
  };
}
