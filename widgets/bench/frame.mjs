// Bundles frame.ts and runs it: npm run bench
import { build } from "esbuild";
import { fileURLToPath } from "node:url";

const made = await build({
  entryPoints: [fileURLToPath(new URL("frame.ts", import.meta.url))],
  bundle: true,
  format: "esm",
  platform: "node",
  write: false,
});
await import(`data:text/javascript;base64,${Buffer.from(made.outputFiles[0].contents).toString("base64")}`);
