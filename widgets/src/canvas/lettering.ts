/** Text on the canvas: cut where it does not fit, and measured once for each word. */
import type { Ctx } from "./glyphs";

export const FONT = '11px system-ui, -apple-system, "Segoe UI", sans-serif';
export const SMALL = '10px system-ui, -apple-system, "Segoe UI", sans-serif';
const MOST = 4000;

export class Lettering {
  private readonly widths = new Map<string, number>();

  width(ctx: Ctx, text: string): number {
    let width = this.widths.get(text);
    if (width === undefined) {
      if (this.widths.size > MOST) this.widths.clear();
      width = ctx.measureText(text).width;
      this.widths.set(text, width);
    }
    return width;
  }

  /** As much of it as fits; "" where so little does that it says nothing. */
  fit(ctx: Ctx, text: string, room: number): string {
    const width = this.width(ctx, text);
    if (width <= room) return text;
    const letters = Math.floor((text.length * (room - 8)) / width);
    return letters < Math.min(6, text.length - 2) ? "" : `${text.slice(0, letters)}…`;
  }

  /** Inside a bar, at the left of what can be seen of it. */
  write(
    ctx: Ctx, text: string, x0: number, x1: number, y: number, height: number, ink: string, frame: { scale: { left: number; width: number } },
  ): void {
    if (height < 10) return;
    const begin = Math.max(x0, frame.scale.left) + 4;
    const room = Math.min(x1, frame.scale.left + frame.scale.width) - begin - 3;
    if (room < 20) return;
    ctx.font = FONT;
    const fits = this.fit(ctx, text, room);
    if (fits === "") return;
    ctx.fillStyle = ink;
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    ctx.fillText(fits, begin, y + 0.5);
  }
}
