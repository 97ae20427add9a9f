/**
 * QR codes as PNG, one bit a pixel: less than a millisecond each. The library's own way draws them in colours, and tries
 * five filters on each row; as many as are drawn here would keep people waiting who book.
 */
import { crc32, deflateSync } from "node:zlib";
import { create } from "qrcode";

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
/** Pixels a module, and modules of white around all of them (ISO/IEC 18004 asks for four). */
const SCALE = 6;
const MARGIN = 4;

/** A part of the file (PNG, 5.3): its length, its name, what is in it, and a sum over the latter two. */
function chunk(name: string, content: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(name, "latin1"), content]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(content.length);
  sum.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, sum]);
}

/** Width and height; grey, one bit deep; the only compression and filter method there is, no interlace (11.2.2). */
function header(pixels: number): Buffer {
  const content = Buffer.alloc(13);
  content.writeUInt32BE(pixels, 0);
  content.writeUInt32BE(pixels, 4);
  content.writeUInt8(1, 8);
  return content;
}

/** A code as a picture, readable also where up to 15 % of it are damaged. */
export function qrPicture(code: string): Buffer {
  const { size, data } = create(code, { errorCorrectionLevel: "M" }).modules;
  const pixels = (size + 2 * MARGIN) * SCALE;
  // White, each row after a byte that names its filter: none.
  const rowBytes = 1 + Math.ceil(pixels / 8);
  const rows = Buffer.alloc(rowBytes * pixels, 0xff);
  for (let y = 0; y < pixels; y++) rows[y * rowBytes] = 0;
  for (const [i, isDark] of data.entries()) {
    if (!isDark) continue;
    const left = (MARGIN + (i % size)) * SCALE;
    const top = (MARGIN + Math.floor(i / size)) * SCALE;
    for (let y = top; y < top + SCALE; y++) {
      for (let x = left; x < left + SCALE; x++) {
        const at = y * rowBytes + 1 + (x >> 3);
        rows[at] = (rows[at] ?? 0) & ~(0x80 >> (x & 7));
      }
    }
  }
  return Buffer.concat([
    SIGNATURE,
    chunk("IHDR", header(pixels)),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}
