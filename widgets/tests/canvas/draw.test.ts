import { describe, expect, it } from "vitest";
import { asProperties, channels, COLOUR_NAMES, DARK, inkOn, LIGHT, luminance, readColours } from "../../src/canvas/colours";
import { BY_WEIGHT, glyphOf, paintGlyph } from "../../src/canvas/glyphs";
import { hitTest } from "../../src/canvas/hit";
import { radiusOfBytes } from "../../src/canvas/marks";
import { heights } from "../../src/canvas/pixels";
import { Kind, Outcome } from "../../src/protocol";
import type { Open } from "../../src/protocol";
import type { Row } from "../synthetic";
import { picture } from "./picture";
import { recorder } from "./recorder";

const bar: Row = { t: 2, dur: 3, extra: 0, id: 1, lane: 1, name: 0, life: 1, kind: Kind.REQUEST, outcome: Outcome.OK };
const span = { from: 0, to: 10 };

describe("a bar", () => {
  it.each<[number, string, string]>([
    [Outcome.OK, LIGHT.ok, ""],
    [Outcome.ERROR, LIGHT.error, "hatch"],
    [Outcome.CRASHED, LIGHT.crashed, "cross"],
    [Outcome.TIMEOUT, LIGHT.timeout, "notch"],
    [Outcome.CANCELLED, LIGHT.cancelled, "hollow"],
  ])("of outcome %i has its colour and its second sign", (outcome, colour, sign) => {
    const { calls, drawn } = picture({ rows: [{ ...bar, outcome }], span });
    const { bars } = drawn;
    const [x, y] = [bars.x0.data[0]!, bars.y0.data[0]!];
    const [width, height] = [bars.x1.data[0]! - x, bars.y1.data[0]! - y];
    const over = calls.filter(({ name, args }) => name === "fillRect" && args.join() === [x, y, width, height].join());
    expect(over[0]).toMatchObject({ fill: colour });
    expect(over[0]!.alpha).toBe(sign === "hollow" ? 0.35 : 1);
    const pattern = (over[1]?.fill as { kind?: string } | undefined)?.kind ?? "";
    expect(pattern).toBe(sign === "hatch" || sign === "cross" ? sign : "");
    const outlined = calls.some(({ name, stroke, args }) => name === "strokeRect" && stroke === colour && args[0] === x + 0.5);
    expect(outlined).toBe(sign === "hollow");
    const cut = calls.some(({ name, args }) => name === "lineTo" && args[1] === y + height / 2);
    expect(cut).toBe(sign === "notch");
  });

  it.each([Outcome.ERROR, Outcome.TIMEOUT, Outcome.CRASHED])("of outcome %i that is too thin for a sign has a flag above it", (outcome) => {
    const { calls, drawn } = picture({ rows: [{ ...bar, dur: 0.01, outcome }], span });
    const [x, y] = [drawn.bars.x0.data[0]!, drawn.bars.y0.data[0]!];
    expect(calls.some(({ name, fill, args }) => name === "fillRect" && fill === LIGHT.fg && args[0] === x && args[1] === y - 3)).toBe(true);
  });

  it("is written upon where its name fits", () => {
    const texts = (dur: number): unknown[] => picture({ rows: [{ ...bar, dur, name: 5 }], span }).named("fillText").map(({ args }) => args[0]);
    expect(texts(3)).toContain("mean of columns");
    expect(texts(1).some((text) => /^mean of.*…$/.test(String(text)))).toBe(true);
    expect(texts(0.3).some((text) => String(text).startsWith("mea"))).toBe(false);
  });

  it("has its wait before it as a thin line of half its strength", () => {
    const { calls, drawn, scale } = picture({ rows: [{ ...bar, extra: 1.5 }], span });
    const [x, y] = [drawn.bars.x0.data[0]!, drawn.bars.y0.data[0]!];
    const line = calls.find(({ name, args }) => name === "fillRect" && args[0] === x - 1.5 / scale.spp && (args[1] as number) < y)!;
    expect(line).toMatchObject({ alpha: 0.5, fill: LIGHT.ok });
    expect(line.args[3]).toBeLessThan(3);
  });

  it("of a request that runs grows until now", () => {
    const open: Open[] = [[9, 1, 0, 1, 2, 0, 5]];
    const width = (now: number): number => {
      const { drawn } = picture({ open, span, now });
      return drawn.open.x1.data[0]! - drawn.open.x0.data[0]!;
    };
    expect(width(4)).toBeCloseTo(160, -1);
    expect(width(6)).toBeCloseTo(320, -1);
    expect(picture({ open, span, now: 6, until: 1 }).drawn.open.length).toBe(0);
  });

  it("shares its lane where a worker runs several at once", () => {
    const rows = [{ ...bar, t: 1, dur: 4, id: 1 }, { ...bar, t: 2, dur: 4, id: 2 }, { ...bar, t: 5.5, dur: 1, id: 3 }];
    const { bars } = picture({ rows, span }).drawn;
    const tops = [0, 1, 2].map((n) => bars.y0.data[n]!);
    expect(tops[0]).not.toBe(tops[1]);
    expect(tops[2]).toBe(tops[0]);
    expect(bars.y1.data[0]!).toBeLessThanOrEqual(bars.y0.data[1]!);
  });
});

describe("areas", () => {
  it("hatch a taint in its lane, and band the saturation of the pool's, the one that lasts included", () => {
    const rows = [{ ...bar, kind: Kind.TAINTED, outcome: 0 }, { ...bar, lane: 0, kind: Kind.SATURATED, outcome: 0 }];
    const { drawn, calls, layout } = picture({ rows, span, saturatedSince: 8 });
    const { areas } = drawn;
    expect([...areas.look.data.subarray(0, 3)]).toEqual([Kind.TAINTED, Kind.SATURATED, Kind.SATURATED]);
    expect(areas.y0.data[0]).toBe(layout.boxes[1]!.y + 1);
    expect(areas.y0.data[1]).toBe(layout.boxes[0]!.y + 1);
    expect(areas.x1.data[2]).toBe(900);
    const [x, y] = [areas.x0.data[0]!, areas.y0.data[0]!];
    expect(calls.some(({ fill, args }) => (fill as { kind?: string }).kind === "hatch" && args[0] === x && args[1] === y)).toBe(true);
  });
});

describe("sums", () => {
  it("show what failed, however little of the time it took", () => {
    const rows: Row[] = Array.from({ length: 5000 }, (_, i) => ({ ...bar, t: i / 500, dur: 0.00199, id: i }));
    rows[2500] = { ...rows[2500]!, outcome: Outcome.ERROR, dur: 1e-6 };
    const { scene, named, drawn } = picture({ rows, span });
    expect(scene.dense).toBe(true);
    expect(drawn.bars.length).toBe(0);
    const red = named("fillRect").filter(({ fill, args }) => fill === LIGHT.error && args[2] === 1 && Number(args[3]) < 40);
    expect(red.length).toBe(1);
    expect(red[0]!.args[0]).toBeCloseTo(500, -1);
    expect(red[0]!.args[3]).toBeGreaterThanOrEqual(3);
  });

  it("stay within the lane, and keep what failed on top of it", () => {
    const tops = new Int32Array(6);
    // Of each outcome (none, ok, error, cancelled, timeout, crashed), one column.
    const share = new Float32Array([0, 3, 0.001, 0, 0, 0.001]);
    const count = new Uint32Array([0, 9, 1, 0, 0, 1]);
    expect(heights(share, count, 0, 1, 20, 1, tops)).toBe(20);
    expect(tops[5]).toBe(20);
    expect(tops[5]! - tops[4]!).toBe(3);
    expect(heights(new Float32Array(6), new Uint32Array(6), 0, 1, 20, 1, tops)).toBe(0);
    expect(heights(new Float32Array([0, 2, 0, 0, 0, 0]), count, 0, 1, 20, 4, tops)).toBeGreaterThan(9);
  });
});

describe("markers", () => {
  it("have a shape of their own each", () => {
    const shapes = new Map<string, number>();
    for (const kind of BY_WEIGHT) {
      if (kind === Kind.REQUEST || kind === Kind.SATURATED || kind === 27) continue;
      const { ctx, calls } = recorder();
      glyphOf(kind).trace(ctx, 0, 0, 100);
      const shape = JSON.stringify([glyphOf(kind).hollow, calls.map(({ name, args }) => [name, args.map((arg) => Math.round(Number(arg)))])]);
      // A stopped pool and a copy are both squares, but in other places of other lanes.
      if (kind !== Kind.POOL_STOPPED) expect(shapes.get(shape)).toBeUndefined();
      shapes.set(shape, kind);
    }
  });

  it("are drawn in their colour with a rim of the background", () => {
    const { ctx, named } = recorder();
    paintGlyph(ctx, Kind.CRASH, 10, 10, 5, LIGHT);
    expect(named("stroke")[0]!.stroke).toBe(LIGHT.bg);
    expect(named("fill")[0]!.fill).toBe(LIGHT.error);
  });

  it("are as large as the logarithm of their bytes", () => {
    const sizes = [0, 1024, 1e6, 1e9, 1e15].map(radiusOfBytes);
    expect([...sizes].sort((a, b) => a - b)).toEqual(sizes);
    expect(sizes[0]).toBe(2);
    expect(sizes.at(-1)).toBe(5);
    expect(radiusOfBytes(NaN)).toBe(2);
  });

  it("say how many they are where there is room", () => {
    const rows = [0, 1, 2].map((i): Row => ({ ...bar, t: 5.001 + i / 1000, dur: 0, id: i, kind: Kind.EXCEPTION, outcome: 0 }));
    expect(picture({ rows, span }).named("fillText").map(({ args }) => args[0])).toContain("×3");
  });

  it("of one moment stand side by side, in the order in which one comes of the other", () => {
    const at = (kind: number): Row => ({ ...bar, t: 5, dur: 0, kind, outcome: 0 });
    const kinds = [Kind.RESTARTED, Kind.RECYCLED, Kind.STARTED, Kind.TAINTED, Kind.CRASH];
    const { glyphs } = picture({ rows: kinds.map(at), span }).drawn;
    const places = new Map(kinds.map((_, n) => n).map((n) => [glyphs.look.data[n]!, glyphs.x0.data[n]!]));
    expect(places.get(Kind.CRASH)!).toBeLessThan(places.get(Kind.RECYCLED)!);
    expect(places.get(Kind.RECYCLED)!).toBeLessThan(places.get(Kind.TAINTED)!);
    expect(places.get(Kind.TAINTED)!).toBeLessThan(places.get(Kind.STARTED)!);
    expect(places.get(Kind.TAINTED)!).toBeLessThan(places.get(Kind.RESTARTED)!);
    expect(places.get(Kind.CRASH)!).toBeGreaterThan(495);
    // The life that it begins is on the other side, where nothing else is.
    const alone = picture({ rows: [at(Kind.STARTED)], span }).drawn.glyphs;
    expect(alone.x1.data[0]!).toBeLessThan(502);
  });
});

describe("colours", () => {
  it("are read from the host, and fall back to the light theme's", () => {
    const host = document.createElement("div");
    host.setAttribute("style", "--snakepit-ok: #123456");
    document.body.append(host);
    expect(readColours(host)).toEqual({ ...LIGHT, ok: "#123456" });
    host.setAttribute("style", asProperties(DARK));
    expect(readColours(host)).toEqual(DARK);
    host.remove();
  });

  it("can be read: text, lines and outcomes stand out from their ground", () => {
    const contrast = (a: string, b: string): number => {
      const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
      return (high + 0.05) / (low + 0.05);
    };
    for (const theme of [LIGHT, DARK]) {
      for (const ground of [theme.bg, theme.lane]) {
        expect(contrast(theme.fg, ground)).toBeGreaterThan(7);
        expect(contrast(theme.muted, ground)).toBeGreaterThan(4.5);
        expect(contrast(theme.focus, ground)).toBeGreaterThan(3);
      }
      for (const name of ["ok", "error", "timeout", "crashed"] as const) expect(contrast(theme[name], inkOn(theme[name]))).toBeGreaterThan(4.5);
      expect(contrast(theme.cell, theme.fg)).toBeGreaterThan(4.5);
      expect(Object.keys(theme)).toEqual(COLOUR_NAMES);
    }
  });

  it("are taken apart, in whichever way they are written", () => {
    expect(channels("#d55e00")).toEqual([213, 94, 0]);
    expect(channels("#fff")).toEqual([255, 255, 255]);
    expect(channels("rgb(1, 2, 3)")).toEqual([1, 2, 3]);
    expect(channels("rgba(1 2 3 / 50%)")).toEqual([1, 2, 3]);
    expect(channels("rebeccapurple")).toEqual([128, 128, 128]);
  });
});

describe("a span of one's own", () => {
  const own: Row = { ...bar, t: 2.5, dur: 2, id: 2, kind: Kind.USER };
  const inner: Row = { ...own, t: 3, dur: 1, id: 3 };

  it("lies on the lower edge of the bar that it is part of, and is painted after it", () => {
    const { calls, drawn } = picture({ rows: [bar, own], span });
    const painted = calls.filter(({ name }) => name === "fillRect").map(({ fill, args }) => ({ fill, args }));
    const [x, y] = [drawn.spans.x0.data[0]!, drawn.spans.y0.data[0]!];
    const strip = painted.findIndex(({ fill, args }) => fill === LIGHT.user && args[0] === x && args[1] === y);
    const below = painted.findIndex(({ fill, args }) => fill === LIGHT.ok && args[0] === drawn.bars.x0.data[0]!);
    expect(below).toBeGreaterThan(-1);
    expect(strip).toBeGreaterThan(below);
    expect(y).toBeGreaterThan((drawn.bars.y0.data[0]! + drawn.bars.y1.data[0]!) / 2);
    expect(y).toBeLessThan(drawn.bars.y1.data[0]!);
  });

  it("has those within it below it, though they end first, and stays in its lane", () => {
    const { drawn, layout } = picture({ rows: [bar, inner, own], span });
    const top = (row: number): number => drawn.spans.y0.data[[0, 1].find((n) => drawn.spans.what.data[n] === row)!]!;
    expect(top(1)).toBeGreaterThan(top(2));
    expect(drawn.spans.y1.data[1]).toBeLessThanOrEqual(layout.boxes[layout.boxOf[1]!]!.y + layout.boxes[layout.boxOf[1]!]!.height);
  });

  it("that failed shows it", () => {
    const { calls } = picture({ rows: [{ ...own, outcome: Outcome.ERROR }], span });
    expect(calls.some(({ name, fill }) => name === "fillRect" && fill === LIGHT.error)).toBe(true);
  });

  it("is what the pointer finds where it lies on a bar", () => {
    const { drawn, ring, sieve } = picture({ rows: [bar, own], span });
    const { spans } = drawn;
    const y = (spans.y0.data[0]! + spans.y1.data[0]!) / 2;
    expect(hitTest(drawn, ring, [], sieve, (spans.x0.data[0]! + spans.x1.data[0]!) / 2, y)!.row).toBe(1);
    expect(hitTest(drawn, ring, [], sieve, (spans.x0.data[0]! + spans.x1.data[0]!) / 2, drawn.bars.y0.data[0]! + 3)!.row).toBe(0);
  });
});
