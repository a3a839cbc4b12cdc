/** What lies around the data: stripes and grid below it; axis, names of the lanes, the line of now and the selection. */
import type { Colours } from "./colours";
import type { Frame } from "./frame";
import type { Ctx } from "./glyphs";
import type { Box } from "./layout";
import { AXIS_HEIGHT, mostScroll } from "./layout";
import type { Lettering } from "./lettering";
import { FONT, SMALL } from "./lettering";
import { xOf } from "./scales";

export function drawGround(ctx: Ctx, frame: Frame, colours: Colours): void {
  const { width, height, layout, scale, axis } = frame;
  ctx.globalAlpha = 1;
  ctx.fillStyle = colours.bg;
  ctx.fillRect(0, 0, width, height);
  layout.boxes.forEach((box) => {
    const odd = Math.round((box.y - AXIS_HEIGHT + layout.scroll) / box.height) % 2 !== 0;
    ctx.fillStyle = odd ? colours.bg : colours.lane;
    ctx.fillRect(0, box.y, width, box.height);
  });
  for (const { t, strong } of axis.ticks) {
    const x = Math.round(xOf(scale, t));
    if (x < scale.left) continue;
    ctx.fillStyle = strong ? colours.line : colours.grid;
    ctx.fillRect(x, AXIS_HEIGHT, 1, height - AXIS_HEIGHT);
  }
}

export function drawAxis(ctx: Ctx, frame: Frame, colours: Colours): void {
  const { width, scale, axis } = frame;
  ctx.fillStyle = colours.bg;
  ctx.fillRect(0, 0, width, AXIS_HEIGHT);
  ctx.fillStyle = colours.line;
  ctx.fillRect(0, AXIS_HEIGHT - 1, width, 1);
  ctx.font = SMALL;
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  for (const { t, label, strong } of axis.ticks) {
    const x = Math.round(xOf(scale, t));
    if (x < scale.left || x > width - 24) continue;
    ctx.fillStyle = strong ? colours.muted : colours.line;
    ctx.fillRect(x, AXIS_HEIGHT - 7, 1, 7);
    ctx.fillStyle = strong ? colours.fg : colours.muted;
    ctx.fillText(label, x + 4, AXIS_HEIGHT / 2 - 1);
  }
  ctx.fillStyle = colours.bg;
  ctx.fillRect(0, 0, scale.left - 2, AXIS_HEIGHT - 1);
  ctx.fillStyle = colours.muted;
  ctx.textAlign = "left";
  ctx.fillText(axis.base, 8, AXIS_HEIGHT / 2 - 1);
}

export function drawGutter(ctx: Ctx, frame: Frame, colours: Colours, letters: Lettering): void {
  const { layout, scale, height, width } = frame;
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, AXIS_HEIGHT, width, height - AXIS_HEIGHT);
  ctx.clip();
  ctx.font = FONT;
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  layout.boxes.forEach((box) => {
    const y = box.y + box.height / 2;
    drawState(ctx, box, 12, y, colours);
    ctx.fillStyle = box.lane.state === "gone" ? colours.muted : colours.fg;
    const label = letters.fit(ctx, box.lane.label, scale.left - 30);
    ctx.fillText(label, 22, y + 0.5);
  });
  ctx.fillStyle = colours.line;
  ctx.fillRect(scale.left - 1, AXIS_HEIGHT, 1, height - AXIS_HEIGHT);
  const most = mostScroll(layout);
  if (most > 0 && layout.boxes.length > 0) {
    const track = layout.room;
    const long = Math.max(16, (track * layout.room) / layout.total);
    ctx.globalAlpha = 0.6;
    ctx.fillStyle = colours.muted;
    ctx.fillRect(width - 5, AXIS_HEIGHT + (Math.min(most, layout.scroll) / most) * (track - long), 3, long);
    ctx.globalAlpha = 1;
  }
  ctx.restore();
}

/** Filled: busy; a ring: idle; a triangle: tainted; half: starting; a dash: gone. */
function drawState(ctx: Ctx, box: Box, x: number, y: number, colours: Colours): void {
  const r = 4;
  const { state, kind } = box.lane;
  ctx.lineWidth = 1.5;
  ctx.beginPath();
  if (kind === "pool") {
    ctx.fillStyle = colours.muted;
    for (const dy of [-4, -1, 2]) ctx.fillRect(x - r, y + dy, 2 * r, 2);
  } else if (state === "busy") {
    ctx.fillStyle = colours.running;
    ctx.arc(x, y, r, 0, 2 * Math.PI);
    ctx.fill();
  } else if (state === "idle") {
    ctx.strokeStyle = colours.muted;
    ctx.arc(x, y, r - 0.75, 0, 2 * Math.PI);
    ctx.stroke();
  } else if (state === "tainted") {
    ctx.fillStyle = colours.tainted;
    ctx.moveTo(x, y - r - 0.5);
    ctx.lineTo(x + r + 0.5, y + r - 0.5);
    ctx.lineTo(x - r - 0.5, y + r - 0.5);
    ctx.closePath();
    ctx.fill();
  } else if (state === "starting") {
    ctx.strokeStyle = colours.ok;
    ctx.arc(x, y, r - 0.75, 0, 2 * Math.PI);
    ctx.stroke();
    ctx.beginPath();
    ctx.fillStyle = colours.ok;
    ctx.arc(x, y, r - 0.75, 0, Math.PI);
    ctx.fill();
  } else {
    ctx.fillStyle = colours.muted;
    ctx.fillRect(x - r, y - 0.75, 2 * r, 1.5);
  }
}

export function drawNow(ctx: Ctx, frame: Frame, colours: Colours): void {
  const { scale, height } = frame;
  const x = Math.round(xOf(scale, Math.min(frame.now, frame.until)));
  if (x < scale.left || x > scale.left + scale.width) return;
  ctx.globalAlpha = 0.8;
  ctx.fillStyle = colours.now;
  ctx.fillRect(x - 1, AXIS_HEIGHT, 1, height - AXIS_HEIGHT);
  ctx.globalAlpha = 1;
  ctx.beginPath();
  ctx.moveTo(x - 4.5, AXIS_HEIGHT);
  ctx.lineTo(x + 3.5, AXIS_HEIGHT);
  ctx.lineTo(x - 0.5, AXIS_HEIGHT + 5);
  ctx.closePath();
  ctx.fill();
}

export function drawSelection(ctx: Ctx, frame: Frame, colours: Colours): void {
  const { selection, scale, height } = frame;
  if (selection === null) return;
  const x0 = Math.max(scale.left - 2, xOf(scale, selection.from));
  const x1 = Math.min(scale.left + scale.width + 2, xOf(scale, selection.to));
  if (x1 < scale.left || x0 > scale.left + scale.width) return;
  ctx.fillStyle = colours.select;
  ctx.globalAlpha = 0.14;
  ctx.fillRect(x0, AXIS_HEIGHT, x1 - x0, height - AXIS_HEIGHT);
  ctx.globalAlpha = 0.9;
  ctx.fillRect(x0, AXIS_HEIGHT, 1, height - AXIS_HEIGHT);
  ctx.fillRect(x1 - 1, AXIS_HEIGHT, 1, height - AXIS_HEIGHT);
  ctx.globalAlpha = 1;
}
