// Bundles src/ into one module and one style sheet; `--check` compares them with those that are committed.
//
// Every saved model holds both, so the module is packed: what is committed is a few lines that unpack the rest
// (deflate, as base64) and import it, the way in which the module itself was imported. `--plain FOLDER` writes it
// unpacked, to be read.
import { readFile, mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { build } from "esbuild";

const TOGETHER = 100 * 1024;
const plain = process.argv.includes("--plain") ? process.argv[process.argv.indexOf("--plain") + 1] : null;
const out = plain ?? fileURLToPath(new URL("../snakepit_nb/dashboard/static/", import.meta.url));
const here = fileURLToPath(new URL(".", import.meta.url));

const made = await build({
  absWorkingDir: here,
  entryPoints: [
    { in: "src/index.ts", out: "timeline" },
    { in: "src/style.css", out: "timeline" },
  ],
  outdir: out,
  bundle: true,
  format: "esm",
  target: ["es2022"],
  minify: true,
  charset: "utf8",
  legalComments: "inline",
  write: false,
  logLevel: "warning",
});

/** The module around a packed one: the same exports, but that each is a promise of what it was. */
function wrapped(packed, licence) {
  return `// The timeline of snakepit_nb; its source is widgets/src/, and widgets/build.mjs says how to read what is packed.
/*! It contains uPlot (https://github.com/leeoniya/uPlot):
${licence.trim()} */
const packed = "${packed}";
let opened;
async function open() {
  const bytes = Uint8Array.from(atob(packed), (sign) => sign.charCodeAt(0));
  const text = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).blob();
  const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  try {
    return await import(/* webpackIgnore: true */ address);
  } finally {
    URL.revokeObjectURL(address);
  }
}
const module = () => (opened ??= open());
export default async () => (await module()).default();
export const standalone = async (...given) => (await module()).standalone(...given);
`;
}

const licence = await readFile(new URL("node_modules/uplot/LICENSE", import.meta.url), "utf8");
const packing = /const packed = "([\w+/=]*)";/;

/** Machines deflate differently: what is compared is what comes out. */
function unpacked(text) {
  const found = packing.exec(text);
  if (found === null) return text;
  return text.replace(packing, "") + inflateRawSync(Buffer.from(found[1], "base64")).toString("utf8");
}

const files = made.outputFiles.map(({ path, text }) => ({
  path,
  text: plain === null && path.endsWith(".js") ? wrapped(deflateRawSync(Buffer.from(text), { level: 9 }).toString("base64"), licence) : text,
}));

const size = files.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
console.log(`${files.map(({ path, text }) => `${path.slice(out.length)} ${Buffer.byteLength(text)}`).join(", ")}: ${size} of ${TOGETHER} bytes`);
if (size > TOGETHER && plain === null) {
  console.error("The bundle is too large.");
  process.exit(1);
}
await mkdir(out, { recursive: true });
for (const { path, text } of files) {
  if (!process.argv.includes("--check")) {
    await writeFile(path, text);
    continue;
  }
  const there = await readFile(path, "utf8").catch(() => "");
  if (unpacked(there) !== unpacked(text)) {
    console.error(`${path} is not what src/ makes: npm run build in widgets/, and commit it.`);
    process.exit(1);
  }
}
