import fc from "fast-check";
import { smsText } from "../../services/notifications/senders/sms-text";
import { anyText } from "../support/any-text";

const link = "https://example.org/events/01890000-0000-7000-8000-000000000001";

test("title, text and link, a line each", () => {
  expect(smsText({ title: "Changed", body: "New place: Hall.", link })).toBe(
    `Changed\nNew place: Hall.\n${link}`,
  );
});

test("what has a plain form has that, so that a segment holds 160 characters and not 70", () => {
  const text = smsText({ title: "On – again…", body: "«Recital» isn’t “late”", link });
  expect(text).toBe(`On - again...\n"Recital" isn't "late"\n${link}`);
});

/** Characters of a text in segments of several: 153 of the plain alphabet, 67 units of UTF-16 of any other. */
const PLAIN = 459;
const ANY = 201;

test("a long text is cut to three segments, and the link stays whole", () => {
  const plain = smsText({ title: "Changed", body: "word ".repeat(200), link });
  expect(plain.length).toBeLessThanOrEqual(PLAIN);
  expect(plain.length).toBeGreaterThan(PLAIN - 10);
  expect(plain).toMatch(/wor\w*\.\.\.\nhttps:/);
  expect(plain.endsWith(`\n${link}`)).toBe(true);
  const other = smsText({ title: "Změna", body: "slovo ".repeat(200), link });
  expect(other.length).toBeLessThanOrEqual(ANY);
  expect(other).toMatch(/slov\w*…\nhttps:/);
});

test("characters that take two places count as two", () => {
  expect(smsText({ title: "", body: "€".repeat(400), link }).length).toBeLessThan(PLAIN - 150);
});

test("a character of several parts is there whole or not at all", () => {
  const family = "👩‍👩‍👧‍👦";
  const text = smsText({ title: "", body: family.repeat(40), link });
  expect(text.replaceAll(family, "")).toBe(`\n…\n${link}`);
});

test("whatever is said, it fits and ends with the link", () => {
  fc.assert(
    fc.property(anyText({ maxLength: 600 }), anyText({ maxLength: 600 }), (title, body) => {
      const text = smsText({ title: title.toWellFormed(), body: body.toWellFormed(), link });
      expect(text.endsWith(`\n${link}`)).toBe(true);
      expect(text.length).toBeLessThanOrEqual(PLAIN);
      expect(text.isWellFormed()).toBe(true);
    }),
  );
});
