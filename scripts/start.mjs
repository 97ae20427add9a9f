// `npm start`: builds what has changed, then becomes the program itself, in this very process, so that its
// signals and its exit code are the program's.
import { buildIfStale } from "./build.mjs";

await buildIfStale();
await import("../dist/main.js");
