import fc from "fast-check";
import { pushPayload } from "../../services/notifications/senders/push-payload";
import { anyText } from "../support/any-text";
import { messageTo } from "../support/messages";

const MOST_BYTES = 3072;

test("what is short goes as it is", () => {
  const message = messageTo({});
  const { type, title, body, eventId, data } = message.notice;
  const { notificationId: id, link } = message;
  expect(JSON.parse(pushPayload(message))).toEqual({
    ...{ id, type, title, body, eventId, data, link },
  });
});

test("what is long fits, and who it is about and where to go are whole", () => {
  const message = messageTo({}, { body: 'Ünïcode "quoted"\n'.repeat(1000) });
  const payload = pushPayload(message);
  expect(Buffer.byteLength(payload)).toBeLessThanOrEqual(MOST_BYTES);
  expect(Buffer.byteLength(payload)).toBeGreaterThan(MOST_BYTES - 20);
  const { id, title, link, eventId } = JSON.parse(payload);
  expect([id, title]).toEqual([message.notificationId, message.notice.title]);
  expect([link, eventId]).toEqual([message.link, message.notice.eventId]);
});

test("whatever is said", () => {
  const long = anyText({ maxLength: 500 });
  fc.assert(
    fc.property(long, anyText({ maxLength: 5000 }), fc.option(long), (title, body, reason) => {
      const notice = messageTo({}).notice;
      const message = messageTo({}, { title, body, data: { ...notice.data, reason } });
      const payload = pushPayload(message);
      expect(Buffer.byteLength(payload)).toBeLessThanOrEqual(MOST_BYTES);
      expect(JSON.parse(payload)).toMatchObject({ link: message.link, eventId: notice.eventId });
    }),
  );
});
