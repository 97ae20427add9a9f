import { execFileSync } from "node:child_process";
import { join } from "node:path";

/** Pixels a module, so that a reader finds its way. */
const SCALE = 6;

/** Draws the picture's strokes, each a row of dark modules, into grey pixels. */
function pixelsOf(svg: string): { width: number; height: number; grey: Uint8Array } {
  const size = Number(/viewBox="0 0 (\d+) \1"/.exec(svg)?.[1]);
  const strokes = /stroke="#000000" d="([^"]+)"/.exec(svg)?.[1];
  if (!size || !strokes) throw new Error("This is no picture of a QR code");
  const width = size * SCALE;
  const grey = new Uint8Array(width * width).fill(255);
  let [x, y] = [0, 0];
  for (const [, command, first = "", second = ""] of strokes.matchAll(
    /([Mmh])([\d.-]+)(?: ([\d.-]+))?/g,
  )) {
    if (command === "M") [x, y] = [Number(first), Math.floor(Number(second))];
    else if (command === "m") x += Number(first);
    else {
      for (let row = y * SCALE; row < (y + 1) * SCALE; row++) {
        grey.fill(0, row * width + x * SCALE, row * width + (x + Number(first)) * SCALE);
      }
      x += Number(first);
    }
  }
  return { width, height: width, grey };
}

/** Runs a script that is an ES module, as the libraries are that it uses, in a process of its own. */
const runs = (script: string, input: Uint8Array): string =>
  execFileSync(process.execPath, ["--input-type=module", "--eval", script], {
    cwd: join(__dirname, "../.."),
    input,
    encoding: "utf8",
  });

const READ = `
  import decodeQR from "qr/decode.js";
  import { buffer } from "node:stream/consumers";
  const read = (picture) => process.stdout.write(decodeQR(picture, { timeLimit: 10_000 }));
  const bytes = await buffer(process.stdin);`;

/** What a scanner reads in the picture of a QR code: SVG, or the bytes of a PNG. */
export function readQr(picture: string | Buffer): string {
  if (typeof picture !== "string") {
    return runs(`import { PNG } from "pngjs"; ${READ} read(PNG.sync.read(bytes));`, picture);
  }
  const { width, height, grey } = pixelsOf(picture);
  const script = `${READ}
    const data = new Uint8Array(${width * height * 4}).map((_, i) => (i % 4 === 3 ? 255 : bytes[i >> 2]));
    read({ width: ${width}, height: ${height}, data });`;
  return runs(script, grey);
}
