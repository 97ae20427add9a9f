import { createHmac, randomBytes } from "node:crypto";
import fc from "fast-check";
import { newId } from "../../lib/ids";
import { codeOf, qrOf, ticketOf } from "../../services/bookings/bookings.tickets";
import { anyText } from "../support/any-text";

const KEY = randomBytes(32);
const OTHER_KEY = randomBytes(32);
const uuid = fc.uuid();
const key = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes));

/** The four spellings that differ in the bits that the last character has to spare, the code's own among them. */
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const spellingsOf = (code: string): string[] => {
  const last = ALPHABET.indexOf(code.at(-1) ?? "");
  return [0, 1, 2, 3].map((spare) => `${code.slice(0, -1)}${ALPHABET[(last & ~3) | spare]}`);
};

describe("A ticket's code", () => {
  test("names its ticket to whoever has the event's key", () => {
    fc.assert(
      fc.property(uuid, key, (id, eventKey) => {
        const code = codeOf(id, eventKey);
        expect(code).toMatch(/^[\w-]{43}$/);
        expect(ticketOf(code, eventKey)).toBe(id);
      }),
    );
  });

  test("is what the documentation tells a gate: the id, and half an HMAC-SHA256 of it", () => {
    const id = newId();
    const bytes = Buffer.from(id.replaceAll("-", ""), "hex");
    const signature = createHmac("sha256", KEY).update(bytes).digest().subarray(0, 16);
    expect(codeOf(id, KEY)).toBe(Buffer.concat([bytes, signature]).toString("base64url"));
  });

  test("is the same whenever it is made, and another one for every ticket and event", () => {
    const ids = Array.from({ length: 200 }, newId);
    const codes = ids.flatMap((id) => [codeOf(id, KEY), codeOf(id, OTHER_KEY)]);
    expect(new Set(codes).size).toBe(400);
    expect(ids.flatMap((id) => [codeOf(id, KEY), codeOf(id, OTHER_KEY)])).toEqual(codes);
  });

  test("of another event is none of this one", () => {
    fc.assert(
      fc.property(uuid, key, key, (id, one, other) => {
        fc.pre(!one.equals(other));
        expect(ticketOf(codeOf(id, one), other)).toBeUndefined();
      }),
    );
  });

  test("that was changed in any bit of its id or signature is forged", () => {
    fc.assert(
      fc.property(uuid, fc.nat(255), (id, bit) => {
        const bytes = Buffer.from(codeOf(id, KEY), "base64url");
        const at = bit >> 3;
        bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << (bit & 7)), at);
        expect(ticketOf(bytes.toString("base64url"), KEY)).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  test("has one spelling: of the last character's spare bits nobody makes a second one", () => {
    fc.assert(
      fc.property(uuid, (id) => {
        const code = codeOf(id, KEY);
        const spellings = spellingsOf(code);
        // All of them are the same bytes, which is why the bytes alone are not enough.
        const bytes = spellings.map((spelling) =>
          Buffer.from(spelling, "base64url").toString("hex"),
        );
        expect(new Set(bytes).size).toBe(1);
        expect(spellings).toContain(code);
        expect(spellings.filter((spelling) => ticketOf(spelling, KEY) === id)).toEqual([code]);
      }),
    );
  });

  test.each<[string, (code: string) => string]>([
    ["nothing", () => ""],
    [
      "its id alone",
      (code) => Buffer.from(code, "base64url").subarray(0, 16).toString("base64url"),
    ],
    ["a character less", (code) => code.slice(0, -1)],
    ["a character more", (code) => `${code}A`],
    ["padding", (code) => `${code}=`],
    ["white space around it", (code) => ` ${code}\n`],
    ["white space in it", (code) => `${code.slice(0, 20)} ${code.slice(20)}`],
    ["twice", (code) => code + code],
    ["in small letters", (code) => code.toLowerCase()],
    ["with a NUL", (code) => `${code}\u0000`],
    ["in hex", (code) => Buffer.from(code, "base64url").toString("hex")],
    ["43 letters", () => "A".repeat(43)],
    ["a long text", () => "x".repeat(100_000)],
    ["emoji", () => "🎟️".repeat(22)],
  ])("is not %s", (_, spoil) => {
    // One with capitals, minus and underline, so that each way of spoiling it makes another text of it.
    const id = "01890000-fbff-7fff-bfff-fbeffbeffbef";
    const spoilt = spoil(codeOf(id, KEY));
    expect(ticketOf(spoilt, KEY)).toBeUndefined();
  });

  test("in the other alphabet of base64 is not the code, though its bytes are", () => {
    const id = "01890000-fbff-7fff-bfff-fbeffbeffbef";
    const code = codeOf(id, KEY);
    const other = code.replaceAll("-", "+").replaceAll("_", "/");
    expect(other).not.toBe(code);
    expect(Buffer.from(other, "base64url")).toEqual(Buffer.from(code, "base64url"));
    expect(ticketOf(other, KEY)).toBeUndefined();
  });

  test("whatever is read at a door is a ticket's code or none, and nothing breaks", () => {
    fc.assert(
      fc.property(anyText({ maxLength: 100 }), (junk) => {
        expect(ticketOf(junk, KEY)).toBeUndefined();
      }),
    );
  });

  test("as a QR code is a picture and nothing but that", async () => {
    const picture = await qrOf(codeOf(newId(), KEY));
    expect(picture).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"[\s\S]*<\/svg>\s*$/);
    expect(picture).not.toMatch(/<script|href|onload/);
    expect(picture).not.toBe(await qrOf(codeOf(newId(), KEY)));
  });
});
