import { describe, expect, it } from "vitest";
import { BadBatch, decode } from "../../src/data/decoder";
import type { Batch } from "../../src/protocol";
import { batchOf, lanesOf, life, random } from "../synthetic";

const { rows } = life({ seed: 1, workers: 3, seconds: 20, mean: 0.5 });

describe("decode", () => {
  it.each([0, 1, 2, 3, 5, 7])("gives back what was packed, %i bytes into its buffer", (shift) => {
    const next = random(shift + 1);
    const intervals = Array.from({ length: 17 }, (_, i) => ({ t: i / 10, width: 0.1, busy: next(), count: i, failed: i % 3, lane: i % 4 }));
    const points = [[1, 2, 3, 4, 5, 6], [2, 3, 4, NaN, NaN, NaN]];
    const figures = [[1, 2, 300.5, 99, NaN]];
    const [batch, buffers] = batchOf({ data: rows, intervals, points, figures, shift });
    const got = decode(batch, buffers);
    expect(got.rows.length).toBe(rows.length);
    rows.forEach((row, i) => {
      expect(got.rows.t[i]).toBe(row.t);
      expect(got.rows.dur[i]).toBe(Math.fround(row.dur));
      expect(got.rows.extra[i]).toBe(Math.fround(row.extra));
      expect([got.rows.id[i], got.rows.lane[i], got.rows.name[i]]).toEqual([row.id, row.lane, row.name]);
      expect([got.rows.life[i], got.rows.kind[i], got.rows.outcome[i]]).toEqual([row.life, row.kind, row.outcome]);
    });
    intervals.forEach((one, i) => {
      expect([got.density.t[i], got.density.count[i], got.density.failed[i], got.density.lane[i]]).toEqual([one.t, one.count, one.failed, one.lane]);
      expect([got.density.width[i], got.density.busy[i]]).toEqual([Math.fround(one.width), Math.fround(one.busy)]);
    });
    expect([...got.samples]).toEqual(points.flat());
    expect([...got.stats]).toEqual(figures.flat());
  });

  it("reads little-endian bytes on a big-endian host", () => {
    const [batch, buffers] = batchOf({ data: [{ ...rows[0]!, id: 0x01020304, lane: 0x0506 }] });
    // On this little-endian host, turning the bytes around shows as turned values.
    const got = decode(batch, buffers, false);
    expect(got.rows.id[0]).toBe(0x04030201);
    expect(got.rows.lane[0]).toBe(0x0605);
    expect(got.rows.kind[0]).toBe(rows[0]!.kind);
  });

  it("takes a batch with no rows, with or without buffers", () => {
    expect(decode(batchOf({})[0], []).rows.length).toBe(0);
    expect(decode(...batchOf({})).density.length).toBe(0);
  });

  it("keeps nothing of the message alive", () => {
    const [batch, buffers] = batchOf({ data: rows.slice(0, 4) });
    const got = decode(batch, buffers);
    new Uint8Array(buffers[0]!.buffer).fill(0xff);
    expect(got.rows.t[0]).toBe(rows[0]!.t);
  });

  it.each([
    ["too short", (view: DataView) => new DataView(view.buffer, view.byteOffset, view.byteLength - 1)],
    ["cut in the middle", (view: DataView) => new DataView(view.buffer, view.byteOffset, view.byteLength >> 1)],
    ["too long", (view: DataView) => new DataView(new ArrayBuffer(view.byteLength + 8))],
  ])("refuses a buffer that is %s", (_, cut) => {
    const [batch, buffers] = batchOf({ data: rows });
    expect(() => decode(batch, [cut(buffers[0]!), ...buffers.slice(1)])).toThrow(BadBatch);
  });

  it("refuses every buffer that is cut, wherever it is cut", () => {
    const next = random(5);
    for (let n = 0; n < 200; n++) {
      const [batch, buffers] = batchOf({ data: rows.slice(0, 1 + Math.floor(next() * 20)), points: [[1, 2, 3, 4, 5, 6]], shift: 3 });
      const which = next() < 0.5 ? 0 : 2;
      const view = buffers[which]!;
      buffers[which] = new DataView(view.buffer, view.byteOffset, Math.floor(next() * view.byteLength));
      expect(() => decode(batch, buffers)).toThrow(BadBatch);
    }
  });

  it("does not read beyond its view, though the buffer goes on", () => {
    const [batch, buffers] = batchOf({ data: rows.slice(0, 2) });
    const large = new Uint8Array(1000);
    large.set(new Uint8Array(buffers[0]!.buffer));
    expect(() => decode({ ...batch, rows: 3 }, [new DataView(large.buffer, 0, buffers[0]!.byteLength), ...buffers.slice(1)])).toThrow(BadBatch);
  });

  it.each<[string, Partial<Record<keyof Batch, unknown>>]>([
    ["a negative count", { rows: -1 }],
    ["a count that is no whole number", { rows: 1.5 }],
    ["a count beyond all measure", { samples: 2 ** 40 }],
    ["a count that is text", { density: "7" }],
    ["no number", { seq: undefined }],
    ["a time that is no number", { now: NaN }],
    ["strings that are none", { strings: [1, 2] }],
    ["more strings than an index can tell", { base: 65535, strings: ["a", "b"] }],
    ["lanes that are none", { lanes: [null] }],
    ["a lane beyond any column's", { lanes: [{ ...lanesOf(1)[0]!, lane: 2 ** 31 }] }],
    ["a running request that is none", { open: [[1, 2, 3]] }],
    ["no summary", { summary: null }],
  ])("refuses a header with %s", (_, wrong) => {
    const [batch, buffers] = batchOf({ lanes: lanesOf(1) });
    expect(() => decode({ ...batch, ...wrong } as Batch, buffers)).toThrow(BadBatch);
  });

  it("refuses a time that is no number, and takes a duration below nothing for none", () => {
    const [a, withNaN] = batchOf({ data: [{ ...rows[0]!, t: NaN }] });
    expect(() => decode(a, withNaN)).toThrow(BadBatch);
    const [b, withInfinity] = batchOf({ data: [{ ...rows[0]!, dur: Infinity }] });
    expect(() => decode(b, withInfinity)).toThrow(BadBatch);
    expect(decode(...batchOf({ data: [{ ...rows[0]!, dur: -1 }] })).rows.dur[0]).toBe(0);
  });
});
