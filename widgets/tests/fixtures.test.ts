// @vitest-environment node
/** What the kernel packs is decoded to the numbers that it packed; `python -m tests.dashboard.fixtures` writes it. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decode } from "../src/data/decoder";
import type { Batch } from "../src/protocol";
import { DENSITY_COLUMNS, ROW_COLUMNS, SAMPLE_COLUMNS, STAT_COLUMNS } from "../src/protocol";

type Row = Record<string, number | null>;
interface Message {
  content: Batch;
  buffers: string[];
  tables: { rows: Row[]; density: Row[]; samples: Row[]; stats: Row[] };
}

const FOLDER = new URL("./fixtures/", import.meta.url);
const files = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));

function read(name: string): Message[] {
  return (JSON.parse(readFileSync(new URL(name, FOLDER), "utf8")) as { messages: Message[] }).messages;
}

/** Each buffer at an odd offset of a larger one, as a message may bring it. */
function views(buffers: readonly string[]): DataView[] {
  return buffers.map((text) => {
    const bytes = Buffer.from(text, "base64");
    const larger = new Uint8Array(bytes.length + 3);
    larger.set(bytes, 3);
    return new DataView(larger.buffer, 3);
  });
}

function columns(table: object, layout: readonly (readonly [string, string])[], length: number): Row[] {
  const of = table as Record<string, ArrayLike<number>>;
  return Array.from({ length }, (_, i) => Object.fromEntries(layout.map(([name]) => [name, plain(of[name]![i]!)])));
}

function tuples(numbers: Float64Array, names: readonly string[]): Row[] {
  return Array.from({ length: numbers.length / names.length }, (_, i) =>
    Object.fromEntries(names.map((name, at) => [name, plain(numbers[i * names.length + at]!)])),
  );
}

function plain(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}

describe.each(files)("%s", (name) => {
  const messages = read(name);

  it.each(messages.map((message) => [message.content.seq, message] as const))("batch %i", (_, message) => {
    const decoded = decode(message.content, views(message.buffers));
    const { rows, density, samples, stats } = message.tables;
    expect(columns(decoded.rows, ROW_COLUMNS, decoded.rows.length)).toEqual(rows);
    expect(columns(decoded.density, DENSITY_COLUMNS, decoded.density.length)).toEqual(density);
    expect(tuples(decoded.samples, SAMPLE_COLUMNS)).toEqual(samples);
    expect(tuples(decoded.stats, STAT_COLUMNS)).toEqual(stats);
  });

  it("numbers its batches and tells each string once", () => {
    const texts: string[] = [];
    messages.forEach(({ content, tables }, at) => {
      expect(content.seq).toBe(messages[0]!.content.seq + at);
      if (content.key) texts.length = 0;
      expect(content.base).toBe(texts.length);
      texts.push(...content.strings);
      for (const row of tables.rows) expect(texts[row.name!]).toBeTypeOf("string");
      for (const [, lane, text] of content.open) {
        expect(content.lanes[lane]).toBeDefined();
        expect(texts[text]).toBeTypeOf("string");
      }
    });
  });
});

it("there are fixtures", () => {
  expect(files).toContain("life.json");
});
