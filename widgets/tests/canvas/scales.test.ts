import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { axis, LONGEST, scaleOf, SHORTEST, timeOf, xOf, zoomed } from "../../src/canvas/scales";
import { random } from "../synthetic";

const zone = process.env["TZ"];
beforeAll(() => {
  process.env["TZ"] = "Asia/Kolkata";
});
afterAll(() => {
  if (zone === undefined) delete process.env["TZ"];
  else process.env["TZ"] = zone;
});

// 12:04:05.250 in Kolkata, which is five and a half hours ahead.
const ORIGIN = Date.UTC(2025, 9, 9, 6, 34, 5, 250);

describe("scales", () => {
  it("go to pixels and back", () => {
    const next = random(1);
    for (let n = 0; n < 300; n++) {
      const from = (next() - 0.5) * 1e5;
      const scale = scaleOf({ from, to: from + 10 ** (next() * 10 - 4) }, 100, 200 + next() * 2000);
      const x = 100 + next() * scale.width;
      expect(xOf(scale, timeOf(scale, x))).toBeCloseTo(x, 3);
    }
    expect(xOf(scaleOf({ from: 5, to: 15 }, 50, 100), 10)).toBe(100);
  });

  it("zoom around a point that stays where it is", () => {
    const next = random(2);
    for (let n = 0; n < 300; n++) {
      const span = { from: 100 * next(), to: 200 + 100 * next() };
      const at = span.from + next() * (span.to - span.from);
      const factor = 10 ** (next() * 4 - 2);
      const after = zoomed(span, factor, at);
      expect((at - after.from) / (after.to - after.from)).toBeCloseTo((at - span.from) / (span.to - span.from), 9);
      expect(after.to - after.from).toBeCloseTo((span.to - span.from) / factor, 6);
    }
    expect(zoomed({ from: 0, to: 1 }, 1e12, 0.5)).toEqual({ from: 0.5 - SHORTEST / 2, to: 0.5 + SHORTEST / 2 });
    const wide = zoomed({ from: 0, to: 1 }, 1e-12, 0.5);
    expect(wide.to - wide.from).toBeCloseTo(LONGEST, 0);
  });
});

describe("axis", () => {
  it("says the local time of day", () => {
    const { ticks, base } = axis({ from: 0, to: 60 }, 900, ORIGIN);
    expect(base).toBe("2025-10-09");
    expect(ticks[0]).toMatchObject({ label: "12:04:10", strong: false });
    expect(ticks[0]!.t).toBeCloseTo(4.75, 6);
    expect(ticks.find(({ strong }) => strong)!.label).toBe("12:05:00");
  });

  it("leaves out the seconds where they say nothing, and says the day at midnight", () => {
    const { ticks } = axis({ from: 0, to: 86400 }, 900, ORIGIN);
    expect(ticks.map(({ label }) => label)).toContain("18:00");
    expect(ticks.find(({ strong }) => strong)!.label).toBe("2025-10-10");
  });

  it("counts milliseconds from the second", () => {
    const { ticks, base } = axis({ from: 0.5, to: 1 }, 900, ORIGIN);
    expect(base).toBe("12:04:05");
    expect(ticks[0]!.label).toBe("+750 ms");
    expect(ticks.find(({ strong }) => strong)).toMatchObject({ label: "12:04:06" });
    expect(ticks.find(({ strong }) => strong)!.t).toBeCloseTo(0.75, 9);
  });

  it("counts microseconds from the millisecond", () => {
    const { ticks, base } = axis({ from: 0.75012, to: 0.75018 }, 900, ORIGIN);
    expect(base).toBe("12:04:06.000");
    expect(ticks.map(({ label }) => label)).toContain("+150 µs");
    expect(ticks.find(({ label }) => label === "+150 µs")!.t).toBeCloseTo(0.75015, 9);
    const over = axis({ from: 0.7509, to: 0.7511 }, 900, ORIGIN);
    expect(over.ticks.find(({ strong }) => strong)!.label).toBe("12:04:06.001");
  });

  it("has some ticks but no crowd, in order, inside the span and told apart, at any zoom", () => {
    const next = random(3);
    for (let n = 0; n < 500; n++) {
      const from = next() * 1e6;
      const length = 10 ** (next() * 11 - 4.5);
      const width = 300 + next() * 1500;
      const { ticks } = axis({ from, to: from + length }, width, ORIGIN);
      expect(ticks.length).toBeLessThanOrEqual(width / 84 + 2);
      if (length < 40 * 86400) expect(ticks.length).toBeGreaterThanOrEqual(1);
      ticks.forEach(({ t }, i) => {
        expect(t).toBeGreaterThanOrEqual(from - length * 1e-3);
        expect(t).toBeLessThanOrEqual(from + length);
        if (i > 0) expect(t).toBeGreaterThan(ticks[i - 1]!.t);
      });
      // "+500 ms" comes once in each second, "06:00" once in each day.
      let said = new Set<string>();
      for (const { label, strong } of ticks) {
        if (strong) said = new Set();
        expect(said).not.toContain(label);
        said.add(label);
      }
    }
  });

  it("survives a span of nothing", () => {
    expect(axis({ from: 1, to: 1 }, 900, ORIGIN).ticks).toEqual([]);
    expect(axis({ from: 1, to: NaN }, 900, ORIGIN).ticks).toEqual([]);
  });
});
