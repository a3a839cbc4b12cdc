/** What a browser's canvas needs beside its context: hatching, pixels, and markers that were drawn once and are stamped. */
import type { Colours } from "./colours";
import type { Surface } from "./frame";
import type { Ctx } from "./glyphs";
import { paintGlyph } from "./glyphs";

interface Sprite {
  image: CanvasImageSource;
  size: number;
}

export class BrowserSurface implements Surface {
  private readonly sprites = new Map<number, Sprite | null>();
  private sheet: HTMLCanvasElement | null = null;

  constructor(private readonly dpr: number) {}

  /** Lines of the background through a bar, aslant; crosswise too for `cross`. A tile is 6 pixels wide. */
  pattern(kind: "hatch" | "cross", ink: string, target: Ctx): CanvasPattern | null {
    const size = Math.round(6 * this.dpr);
    const made = canvas(size, size);
    if (made === null) return null;
    const [tile, ctx] = made;
    ctx.strokeStyle = ink;
    ctx.globalAlpha = 0.5;
    ctx.lineWidth = 1.4 * this.dpr;
    ctx.beginPath();
    // The corners too, or the lines would be broken where tiles meet.
    for (const shift of [-size, 0, size]) {
      ctx.moveTo(shift - 1, size + 1);
      ctx.lineTo(shift + size + 1, -1);
      if (kind === "cross") {
        ctx.moveTo(shift - 1, -1);
        ctx.lineTo(shift + size + 1, size + 1);
      }
    }
    ctx.stroke();
    return target.createPattern(tile, "repeat");
  }

  image(bytes: Uint8ClampedArray, width: number, height: number): CanvasImageSource | null {
    this.sheet ??= document.createElement("canvas");
    const { sheet } = this;
    if (sheet.width !== width || sheet.height !== height) {
      sheet.width = width;
      sheet.height = height;
    }
    const ctx = sheet.getContext("2d");
    if (ctx === null || typeof ImageData === "undefined") return null;
    ctx.putImageData(new ImageData(bytes as Uint8ClampedArray<ArrayBuffer>, width, height), 0, 0);
    return sheet;
  }

  sprite(kind: number, radius: number, many: boolean, colours: Colours): Sprite | null {
    const key = (kind * 64 + Math.round(radius * 10)) * 2 + Number(many);
    let sprite = this.sprites.get(key);
    if (sprite !== undefined) return sprite;
    const size = Math.ceil(radius + 5) * 2;
    const made = canvas(Math.round(size * this.dpr), Math.round(size * this.dpr));
    if (made === null) sprite = null;
    else {
      const [image, ctx] = made;
      ctx.scale(this.dpr, this.dpr);
      paintGlyph(ctx, kind, size / 2, size / 2, radius, colours, many);
      // A bitmap is stamped in half the time that a canvas takes.
      sprite = { image: "transferToImageBitmap" in image ? image.transferToImageBitmap() : image, size };
    }
    this.sprites.set(key, sprite);
    return sprite;
  }
}

type Made = [OffscreenCanvas, OffscreenCanvasRenderingContext2D] | [HTMLCanvasElement, CanvasRenderingContext2D];

function canvas(width: number, height: number): Made | null {
  if (typeof OffscreenCanvas === "function") {
    const element = new OffscreenCanvas(width, height);
    const ctx = element.getContext("2d");
    return ctx === null ? null : [element, ctx];
  }
  const element = document.createElement("canvas");
  element.width = width;
  element.height = height;
  const ctx = element.getContext("2d");
  return ctx === null ? null : [element, ctx];
}
