// Bundles src/ into one module and one style sheet; `--check` compares them with those that are committed.
import { readFile, mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const TOGETHER = 100 * 1024; // each saved model holds both
const out = fileURLToPath(new URL("../snakepit_nb/dashboard/static/", import.meta.url));
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

const size = made.outputFiles.reduce((sum, file) => sum + file.contents.length, 0);
const told = made.outputFiles.map((file) => `${file.path.slice(out.length)} ${file.contents.length}`).join(", ");
console.log(`${told}: ${size} of ${TOGETHER} bytes`);
if (size > TOGETHER) {
  console.error("The bundle is too large.");
  process.exit(1);
}
await mkdir(out, { recursive: true });
for (const file of made.outputFiles) {
  if (!process.argv.includes("--check")) {
    await writeFile(file.path, file.contents);
    continue;
  }
  const there = await readFile(file.path).catch(() => Buffer.alloc(0));
  if (!there.equals(Buffer.from(file.contents))) {
    console.error(`${file.path} is not what src/ makes: npm run build in widgets/, and commit it.`);
    process.exit(1);
  }
}
