/** Where each lane lies: the pool's first, then the workers' by name; equally high, and scrolled where they are too many. */
import type { Lane } from "../protocol";

export const AXIS_HEIGHT = 24;
export const LOWEST = 18;
export const HIGHEST = 44;

export interface Box {
  readonly lane: Lane;
  /** All in CSS pixels of the canvas. */
  readonly y: number;
  readonly height: number;
  /** The bars' part of it: above is room for exceptions and the wait, below for memory. */
  readonly barTop: number;
  readonly barHeight: number;
}

export interface Layout {
  /** Those that can be seen, top to bottom. */
  readonly boxes: readonly Box[];
  /** By the lane's number: which box; -1 where it cannot be seen. */
  readonly boxOf: Int16Array;
  /** Of all lanes, and of the place for them. */
  readonly total: number;
  readonly room: number;
  readonly laneHeight: number;
  readonly scroll: number;
}

export function layoutOf(lanes: readonly Lane[], height: number, scroll: number, only: ReadonlySet<number>): Layout {
  const shown = ordered(lanes).filter((lane) => only.size === 0 || only.has(lane.lane));
  const room = Math.max(0, height - AXIS_HEIGHT);
  const laneHeight = Math.min(HIGHEST, Math.max(LOWEST, Math.floor(room / Math.max(1, shown.length))));
  const most = lanes.reduce((max, lane) => Math.max(max, lane.lane), 0);
  const boxOf = new Int16Array(most + 1).fill(-1);
  const boxes: Box[] = [];
  const above = laneHeight >= 28 ? 8 : 4;
  const below = laneHeight >= 28 ? 7 : 3;
  shown.forEach((lane, i) => {
    const y = AXIS_HEIGHT + i * laneHeight - scroll;
    if (y + laneHeight <= AXIS_HEIGHT || y >= height) return;
    boxOf[lane.lane] = boxes.length;
    boxes.push({ lane, y, height: laneHeight, barTop: y + above, barHeight: laneHeight - above - below });
  });
  return { boxes, boxOf, total: shown.length * laneHeight, room, laneHeight, scroll };
}

/** How far it can be scrolled. */
export function mostScroll(layout: Layout): number {
  return Math.max(0, layout.total - layout.room);
}

export function boxAt(layout: Layout, y: number): Box | null {
  if (y < AXIS_HEIGHT) return null;
  return layout.boxes.find((box) => y >= box.y && y < box.y + box.height) ?? null;
}

// Workers get their lanes as they come to life; people look for them by their number.
const { compare: byName } = new Intl.Collator("en", { numeric: true });

export function ordered(lanes: readonly Lane[]): Lane[] {
  const rank = (lane: Lane): number => (lane.kind === "pool" ? 0 : lane.kind === "worker" ? 1 : 2);
  return [...lanes].sort((a, b) => rank(a) - rank(b) || byName(a.label, b.label) || a.lane - b.lane);
}
