import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LiveStore } from "../../src/data/store";
import type { Summary, ToKernel } from "../../src/protocol";
import { batchOf, lanesOf, life, SUMMARY } from "../synthetic";

const { rows } = life({ seed: 2, workers: 2, seconds: 10, mean: 0.5 });

let sent: ToKernel[] = [];
let here = 0;
let store: LiveStore;

function pass(ms: number): void {
  here += ms;
  vi.advanceTimersByTime(ms);
}

function batch(parts: Parameters<typeof batchOf>[0]): void {
  store.receive(...batchOf(parts));
}

function resyncs(): number {
  return sent.filter(({ verb }) => verb === "resync").length;
}

beforeEach(() => {
  vi.useFakeTimers();
  sent = [];
  here = 50_000;
  store = new LiveStore({ send: (message) => void sent.push(message) }, () => here);
});

afterEach(() => {
  store.dispose();
  vi.useRealTimers();
});

describe("batches", () => {
  it("shows what came, in order", () => {
    batch({ seq: 4, key: true, data: rows.slice(0, 5), strings: ["a", "b"], lanes: lanesOf(2), now: 1 });
    batch({ seq: 5, key: false, data: rows.slice(5, 9), strings: ["c"], base: 2, now: 1.1, open: [[7, 1, 2, 1, 0.5, 0, 3]] });
    const ids: number[] = [];
    store.rows.newest((i) => ids.unshift(store.rows.id(i)));
    expect(ids).toEqual(rows.slice(0, 9).map(({ id }) => id));
    expect([store.text(0), store.text(2), store.text(3)]).toEqual(["a", "c", "…"]);
    expect(store.open[0]![6]).toBe(3);
    expect(store.lanes).toEqual([]);
    expect(resyncs()).toBe(0);
  });

  it("begins anew with a keyframe", () => {
    batch({ seq: 1, data: rows, strings: ["old", "older"], points: [[1, 1, 1, 1, 1, 1]], figures: [[1, 1, 1, 1, 1]] });
    const before = Array.from({ length: store.rows.length }, (_, i) => store.rows.number(i));
    batch({ seq: 9, key: true, data: rows.slice(0, 2), strings: ["new"] });
    expect(store.rows.length).toBe(2);
    expect(before.map((number) => store.rows.index(number))).toEqual(before.map(() => -1));
    expect([store.text(0), store.text(1)]).toEqual(["new", "…"]);
    expect(store.samples.t).toEqual([]);
    expect(store.stats.size).toBe(0);
  });

  it("goes on drawing over a gap, and asks for a keyframe once in two seconds until one comes", () => {
    batch({ seq: 1, data: rows.slice(0, 3), strings: ["a"] });
    batch({ seq: 3, key: false, data: rows.slice(3, 6), strings: ["z"], base: 40 });
    expect(store.rows.length).toBe(6);
    expect([store.text(0), store.text(39), store.text(40)]).toEqual(["a", "…", "z"]);
    expect(resyncs()).toBe(1);
    for (let seq = 4; seq < 14; seq++) {
      pass(100);
      batch({ seq, key: false });
    }
    expect(resyncs()).toBe(1);
    pass(1000);
    batch({ seq: 14, key: false });
    expect(resyncs()).toBe(2);
    batch({ seq: 15, key: true });
    pass(5000);
    batch({ seq: 16, key: false });
    expect(resyncs()).toBe(2);
  });

  it("takes no batch twice", () => {
    batch({ seq: 1, data: rows.slice(0, 3) });
    batch({ seq: 2, key: false, data: rows.slice(3, 6) });
    batch({ seq: 2, key: false, data: rows.slice(3, 6) });
    batch({ seq: 1, key: false, data: rows.slice(0, 3) });
    expect(store.rows.length).toBe(6);
    expect(resyncs()).toBe(0);
  });

  it("waits for the answer to a hello before it asks again", () => {
    store.send({ verb: "hello", view: "v" });
    batch({ seq: 7, key: false, data: rows.slice(0, 3) });
    expect(store.rows.length).toBe(3);
    batch({ seq: 9, key: false });
    expect(resyncs()).toBe(0);
  });

  it("takes nothing of a batch that is garbled, says so, asks for a keyframe and lives on", () => {
    const said = vi.spyOn(console, "error").mockImplementation(() => {});
    batch({ seq: 1, data: rows.slice(0, 3), strings: ["a"] });
    const [bad, buffers] = batchOf({ seq: 2, key: true, data: rows, strings: ["b"] });
    store.receive({ ...bad, rows: bad.rows + 1 }, buffers);
    expect(said).toHaveBeenCalledOnce();
    expect([store.rows.length, store.text(0)]).toEqual([3, "a"]);
    expect(resyncs()).toBe(1);
    batch({ seq: 3, key: true, data: rows });
    expect(store.rows.length).toBe(rows.length);
    said.mockRestore();
  });

  it("asks for a keyframe where a summary tells of batches that never came", () => {
    batch({ seq: 4 });
    store.receive({ type: "summary", seq: 4, now: 1, summary: SUMMARY }, []);
    expect(resyncs()).toBe(0);
    store.receive({ type: "summary", seq: 6, now: 2, summary: { ...SUMMARY, queued: 3 } }, []);
    expect(resyncs()).toBe(1);
    expect(store.summary!.queued).toBe(3);
  });

  it("keeps the charts' points in order of time, and not without end", () => {
    batch({ seq: 1, points: [[1, 2, 3, 4, 5, 6], [2, 0, 0, NaN, NaN, NaN]], figures: [[1, 2, 10, 20, NaN], [1, 3, 11, 21, 5]] });
    batch({ seq: 2, key: false, points: [[2, 9, 9, 9, 9, 9], [3, 7, 7, 7, 7, 7]], figures: [[2, 2, 12, 22, NaN]] });
    expect(store.samples.t).toEqual([1, 2, 3]);
    expect(store.samples.queue).toEqual([2, 0, 7]);
    expect(store.samples.p99[1]).toBeNaN();
    expect(store.stats.get(2)!.memory_mb).toEqual([10, 12]);
    expect(store.stats.get(3)!.gpu_memory_mb).toEqual([5]);
    const many = Array.from({ length: 20_000 }, (_, i) => [10 + i, 0, 0, 0, 0, 0]);
    batch({ seq: 3, key: false, points: many });
    expect(store.samples.t.length).toBeLessThan(15_000);
    expect(store.samples.t.at(-1)).toBe(20_009);
    expect(new Set(Object.values(store.samples).map(({ length }) => length)).size).toBe(1);
  });

  it("tells its subscribers of each change, until they are tired of it", () => {
    let told = 0;
    const end = store.subscribe(() => told++);
    const before = store.version;
    batch({ seq: 1 });
    expect(told).toBe(1);
    expect(store.version).toBeGreaterThan(before);
    end();
    batch({ seq: 2, key: false });
    expect(told).toBe(1);
  });
});

describe("questions", () => {
  it("are answered by number", async () => {
    const first = store.details(11);
    const second = store.act({ action: "stop" });
    const third = store.file("csv");
    const asks = sent.map((message) => (message as { ask: number }).ask);
    expect(sent.map(({ verb }) => verb)).toEqual(["details", "do", "export"]);
    expect(sent[1]).toMatchObject({ action: "stop" });
    const data = new DataView(new ArrayBuffer(4));
    store.receive({ type: "file", ask: asks[2]!, ok: true, text: "", name: "a.csv", mime: "text/csv" }, [data]);
    store.receive({ type: "done", ask: asks[1]!, ok: true, text: "stopping" }, []);
    store.receive({ type: "done", ask: 999, ok: true, text: "nobody asked" }, []);
    store.receive(
      { type: "details", ask: asks[0]!, id: 11, found: true, event: "e", measurements: {}, metadata: {}, html: "", text: "" },
      [],
    );
    expect((await first).event).toBe("e");
    expect((await second).text).toBe("stopping");
    expect((await third).data).toBe(data);
  });

  it("wait while the kernel is busy but heard, and the link says so", async () => {
    const answer = store.act({ action: "recycle", worker: "w" });
    pass(900);
    expect(store.link).toBe("live");
    for (let seq = 1; seq < 100; seq++) {
      pass(100);
      batch({ seq, key: seq === 1 });
    }
    expect(store.link).toBe("waiting");
    store.receive({ type: "done", ask: 1, ok: true, text: "" }, []);
    expect(store.link).toBe("live");
    expect((await answer).ok).toBe(true);
  });

  it("end when the kernel falls silent", async () => {
    const [details, done, file] = [store.details(5), store.act({ action: "stop" }), store.file("html")];
    pass(5000);
    expect(store.link).toBe("silent");
    expect(await details).toMatchObject({ type: "details", id: 5, found: false });
    expect(await done).toMatchObject({ type: "done", ok: false });
    expect(await file).toMatchObject({ message: { ok: false }, data: null });
    expect((await done).text).not.toBe("");
  });

  it("asked of a kernel that is silent already are given their time", async () => {
    pass(20_000);
    const answer = store.act({ action: "stop" });
    pass(4900);
    store.receive({ type: "done", ask: 1, ok: true, text: "late" }, []);
    expect((await answer).text).toBe("late");
  });

  it("end when the store is disposed of, and at once where nothing can be sent", async () => {
    const pending = store.details(1);
    store.dispose();
    expect((await pending).found).toBe(false);
    expect((await store.act({ action: "stop" })).ok).toBe(false);
    const dead = new LiveStore({
      send: () => {
        throw new Error("closed");
      },
    });
    dead.send({ verb: "hello", view: "v" });
    expect((await dead.details(1)).found).toBe(false);
    dead.dispose();
  });
});

describe("a page without a kernel", () => {
  it("answers every question at once, and says why", async () => {
    const alone = new LiveStore(null, () => 0);
    const why = "This page has no kernel to ask.";
    expect(await alone.details(1)).toMatchObject({ found: false, text: why });
    expect(await alone.act({ action: "stop" })).toMatchObject({ ok: false, text: why });
    expect((await alone.file("csv")).message).toMatchObject({ ok: false, text: why });
    expect(alone.link).toBe("live");
    alone.dispose();
  });
});

describe("the link and the clock", () => {
  it("tells when it falls silent, though nothing comes", () => {
    batch({ seq: 1, now: 1 });
    const seen: string[] = [];
    store.subscribe(() => seen.push(store.link));
    pass(4900);
    expect(seen).toEqual([]);
    pass(200);
    expect(seen).toEqual(["silent"]);
    batch({ seq: 2, key: false, now: 6 });
    expect(store.link).toBe("live");
  });

  it("runs between messages, and stands where they stop", () => {
    batch({ seq: 1, now: 10 });
    pass(250);
    expect(store.now()).toBeCloseTo(10.25, 6);
    pass(60_000);
    expect(store.now()).toBeCloseTo(15, 6);
  });

  it("stands when the pool has stopped, and starts anew with another model's origin", () => {
    const stopped: Summary = { ...SUMMARY, state: "stopped" };
    batch({ seq: 1, now: 10, summary: stopped });
    pass(3000);
    expect(store.now()).toBe(10);
    batch({ seq: 1, now: 2, origin_ms: 1_770_000_000_000 });
    expect(store.now()).toBe(2);
  });

  it("never falls silent with a clock that stands, as a page without a kernel has", () => {
    const page = new LiveStore({ send() {} }, () => 0);
    page.receive(...batchOf({ seq: 1, now: 33, data: rows }));
    vi.advanceTimersByTime(60_000);
    expect(page.link).toBe("live");
    expect(page.now()).toBe(33);
    page.dispose();
  });
});
