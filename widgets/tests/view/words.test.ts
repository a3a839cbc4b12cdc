import { visible, visibleLines } from "../../src/data/visible";
import { Kernel, row } from "./page";
import { describe, expect, it } from "vitest";
import { Kind, Outcome } from "../../src/protocol";
import { bytes, count, duration, moment, percent, three } from "../../src/view/format";
import { figures, inWords } from "../../src/view/header";
import { kindOf, KINDS, rowAt, sentence } from "../../src/view/row";
import { statisticsOf } from "../../src/view/statistics";
import { told } from "../../src/view/selection";
import { lanesOf, SUMMARY } from "../synthetic";

describe("figures", () => {
  it.each([
    [0, "0 B"], [999, "999 B"], [999.6, "1 kB"], [1200, "1.2 kB"], [1.2e9, "1.2 GB"], [12.34e6, "12.3 MB"], [123.4e6, "123 MB"], [999.9e6, "1 GB"], [NaN, "–"],
  ])("%d bytes are %s", (value, said) => expect(bytes(value)).toBe(said));

  it.each([
    [0, "0 s"], [12e-6, "12 µs"], [3.2e-3, "3.2 ms"], [0.9996, "1 s"], [1.24, "1.24 s"], [59.97, "1 min 00 s"], [123, "2 min 03 s"], [3725, "1 h 02 min"], [Infinity, "–"],
  ])("%d seconds are %s", (value, said) => expect(duration(value)).toBe(said));

  it("rounds to three", () => {
    expect([three(1.005), three(9.996), three(99.96), three(10), three(100)]).toEqual(["1", "10", "100", "10", "100"]);
    expect([count(1234567), percent(0.123), percent(NaN)]).toEqual(["1,234,567", "12.3 %", "–"]);
  });

  it("tells moments in local time with milliseconds", () => {
    expect(moment(new Date(2031, 4, 6, 7, 8, 9, 42).getTime())).toBe("2031-05-06 07:08:09.042");
    expect(moment(NaN)).toBe("–");
  });
});

describe("hostile text", () => {
  it("is written out where it could not be seen, and cut", () => {
    expect(visible("a\u0000b\u001b[31m\u202ec\u2066d\ufeff")).toBe("a\\u0000b\\u001b[31m\\u202ec\\u2066d\\ufeff");
    expect(visible("one\ntwo\tthree")).toBe("one two three");
    expect(visibleLines("one\ntwo\r")).toBe("one\ntwo\\u000d");
    expect(visible("x".repeat(1e7))).toBe(`${"x".repeat(200)}…`);
  });

  it("leaves honest words of any script as they are", () => {
    for (const text of ["naïve", "数据", "مرحبا", "🙂 👍🏽 👩\u200d💻", "می\u200cخواهم"]) expect(visible(text)).toBe(text);
  });
});

describe("sentences", () => {
  it("has a word for every kind", () => {
    expect(KINDS).toHaveLength(Math.max(...Object.values(Kind)) + 1);
    expect(kindOf({ ...rowAtOf(), kind: 99 })).toBe("event of kind 99");
  });

  function rowAtOf(): ReturnType<typeof rowAt> {
    const kernel = new Kernel();
    kernel.tell({ now: 9, lanes: lanesOf(1), strings: ["", "fit"], data: [row({ t: 1, dur: 1.2, extra: 0.003, name: 1, outcome: Outcome.ERROR })] });
    expect(sentence(kernel.store, rowAt(kernel.store, 0))).toBe("request fit, error, 1.2 s, waited 3 ms, default-1");
    kernel.store.dispose();
    return rowAt(kernel.store, 0);
  }

  it("leaves out of the header what would be noise", () => {
    const labels = (summary: typeof SUMMARY): string[] => figures(summary).map(([label]) => label);
    expect(labels(SUMMARY)).not.toContain("crashes");
    expect(labels({ ...SUMMARY, crashes: 1, recycled: 2, workers: { ...SUMMARY.workers, tainted: 1, starting: 1 } })).toEqual(expect.arrayContaining(["crashes", "recycled", "tainted", "starting"]));
  });

  it("describes an empty pool too", () => {
    const kernel = new Kernel();
    expect(inWords(kernel.store)).toContain("Nothing has happened");
    kernel.store.dispose();
  });
});

describe("statistics of a span", () => {
  function of(from: number, to: number): ReturnType<typeof statisticsOf> {
    const kernel = new Kernel();
    kernel.tell({
      ...{ now: 20, lanes: lanesOf(2), strings: ["", "fit"], open: [[99, 2, 1, 1, 8, 0, 7]] },
      data: [
        row({ id: 1, t: 0, dur: 4, extra: 1, outcome: Outcome.OK }),
        row({ id: 2, t: 4, dur: 2, extra: 0, outcome: Outcome.ERROR }),
        // Of a worker of two threads: what overlaps is busy once.
        row({ id: 3, t: 4.5, dur: 1.5, outcome: Outcome.OK }),
        row({ id: 4, t: 5, kind: Kind.EXPORT, extra: 1000 }),
        row({ id: 5, t: 5, kind: Kind.FALLBACK, extra: 24 }),
        row({ id: 6, t: 9, dur: 3, outcome: Outcome.OK }),
      ],
      intervals: [{ t: 20, width: 2, busy: 0.5, count: 10, failed: 4, lane: 1 }],
    });
    const found = statisticsOf(kernel.store, { from, to });
    kernel.store.dispose();
    return found;
  }

  it("counts what ended in it, and is busy by what ran in it", () => {
    const found = of(2, 10);
    expect(found).toMatchObject({ seconds: 8, count: 3, ok: 2, failed: 1, throughput: 3 / 8, shared: 1000, copied: 24 });
    expect(found.duration).toEqual([2, 4, 4]);
    expect(found.busy.map(({ label, share }) => [label, share])).toEqual([["default-1", 5 / 8], ["default-2", 2 / 8]]);
  });

  it("takes density's part of the span", () => {
    expect(of(19, 21)).toMatchObject({ count: 5, failed: 2 });
    expect(of(19, 21).busy[0]!.share).toBeCloseTo(0.25);
  });

  it("says nothing of what did not happen", () => {
    expect(Object.fromEntries(told(of(12.5, 13)))).toMatchObject({ requests: "0", "duration p50 / p95 / p99": "– / – / –" });
  });
});
