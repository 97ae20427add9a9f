import fc from "fast-check";
import { mailOf } from "../../services/notifications/mail/mail";
import { qrPicture } from "../../services/notifications/mail/qr-picture";
import { htmlOf, oneLine, textOf } from "../../services/notifications/mail/templates";
import type { Message } from "../../services/notifications/senders/sender";
import { anyText } from "../support/any-text";
import { readQr } from "../support/qr";

const messageWith = (words: { name: string; title: string; body: string }): Message => ({
  deliveryId: "0199c0de-0000-7000-8000-000000000001",
  notificationId: "0199c0de-0000-7000-8000-000000000002",
  userId: "0199c0de-0000-7000-8000-000000000003",
  to: { name: words.name, email: "alice@example.org", phone: null, pushSubscriptions: [] },
  notice: {
    type: "booking.confirmed",
    title: words.title,
    body: words.body,
    data: { eventId: null, bookingId: null, reason: null },
    eventId: null,
    createdAt: new Date(0),
  },
  tickets: [{ code: "first", cid: "1@marquee" }, { code: "second" }],
  unsubscribeUrl: "https://example.org/api/notifications/unsubscribe?token=all",
  muteUrl: "https://example.org/api/notifications/unsubscribe?token=one",
  link: "https://example.org/events/1",
});

const DECEIVING = /[\p{Cc}\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/u;
const text = anyText({ maxLength: 200 });

test("A header is one line of well-formed text, whatever it is made of", () => {
  fc.assert(
    fc.property(text, (any) => {
      const line = oneLine(any);
      expect(line).not.toMatch(DECEIVING);
      expect(line).not.toMatch(/[\u2028\u2029]/);
      expect(line.isWellFormed()).toBe(true);
    }),
  );
  expect(oneLine(" A\r\nBcc: eve@example.org\u0000\u2028\u202eB\ud800 ")).toBe(
    "A Bcc: eve@example.org B\ufffd",
  );
});

test("Text of people is text in HTML, too", () => {
  fc.assert(
    fc.property(text, text, text, (name, title, body) => {
      const tags = (html: string) => html.match(/<[^>]*>/g);
      const plain = htmlOf(messageWith({ name: "", title: "", body: "" }));
      const lines = body.split(/\r\n|[\n\r\u0085\u2028\u2029]/).length;
      const paragraphs = Array.from({ length: lines - 1 }, () => ["<p>", "</p>"]).flat();
      const made = htmlOf(messageWith({ name, title, body }));
      // The same tags as without any, and a paragraph for each line.
      expect(tags(made)?.sort()).toEqual([...(tags(plain) ?? []), ...paragraphs].sort());
      expect(made.replaceAll("\n", "")).not.toMatch(DECEIVING);
    }),
  );
});

test("Both parts say the same: greeting, words, tickets, and how mails end", () => {
  const message = messageWith({ name: "Alice", title: "Booked", body: "One.\nTwo." });
  for (const part of [textOf(message), htmlOf(message)]) {
    for (const words of ["Hello Alice,", "One.", "Two.", "first", "second", "Ticket 2 of 2"]) {
      expect(part).toContain(words);
    }
    for (const url of [message.link, message.muteUrl, message.unsubscribeUrl]) {
      expect(part).toContain(url);
    }
  }
  expect(htmlOf(message).match(/<img /g)).toHaveLength(1);
});

test("A mail is the same each time it is made, and its envelope names one recipient", () => {
  const message = messageWith({ name: "a@b.c, d@e.f <g@h.i>", title: "x", body: "y" });
  const post = { from: { name: "M", address: "m@example.org" }, publicUrl: "https://[::1]:3000/x" };
  expect(mailOf(message, post)).toEqual(mailOf(message, post));
  expect(mailOf(message, post)).toMatchObject({
    envelope: { from: "m@example.org", to: ["alice@example.org"] },
    messageId: `<${message.deliveryId}@[::1]>`,
    date: new Date(0),
  });
});

test.each(["A", "0199c0de", "x".repeat(43), "ü".repeat(100)])("A QR code says %s", (code) => {
  expect(readQr(qrPicture(code))).toBe(code);
});
