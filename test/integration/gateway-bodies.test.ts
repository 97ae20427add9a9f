import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { Api, inDays, type Person } from "../support/people";
import { type AskOptions, ask, expectProblem, faultyFields } from "../support/problems";
import { startTestSystem, type TestSystem } from "../support/system";
import { onWire } from "../support/wire";

const MOST_BYTES = 1_048_576;
const JSON_TYPE = { "content-type": "application/json" };

describe("Bodies", () => {
  let system: TestSystem;
  let api: Api;
  let hanna: Person;
  beforeAll(async () => {
    system = await startTestSystem();
    api = await Api.at(system.origin);
    hanna = await api.host("Hanna");
  });
  afterAll(() => system.stop());

  const posts = (body: AskOptions["body"], headers: Record<string, string> = JSON_TYPE) =>
    ask(system.origin, "POST", "/api/events", {
      headers: { authorization: `Bearer ${hanna.token}`, ...headers },
      ...(body === undefined ? {} : { body }),
    });
  const countOfEvents = async (): Promise<number> => {
    const [row] = await system.database.query("SELECT count(*)::int AS count FROM events");
    return row.count;
  };
  const anEvent = (fields: Record<string, unknown> = {}) => ({
    title: "An evening",
    startDateTime: inDays(7),
    endDateTime: inDays(7.1),
    capacity: 10,
    ...fields,
  });
  const eventText = (fields?: Record<string, unknown>) => JSON.stringify(anEvent(fields));

  /** A stream, which goes out in chunks and without a length. */
  const inChunks = (...chunks: Uint8Array[]): ReadableStream =>
    new ReadableStream({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(chunk);
        controller.close();
      },
    });
  const bytes = (text: string) => new TextEncoder().encode(text);
  const spaces = (count: number) => new Uint8Array(count).fill(0x20);

  describe("Size", () => {
    const padded = (size: number) => {
      const text = eventText();
      return text + " ".repeat(size - text.length);
    };

    test("1 MiB is accepted, a byte more is not", async () => {
      expect((await posts(padded(MOST_BYTES))).status).toBe(201);
      expectProblem(await posts(padded(MOST_BYTES + 1)), 413, "PAYLOAD_TOO_LARGE");
    });

    test("a length that is announced is refused before it is sent", async () => {
      await onWire(system.origin, async (wire) => {
        wire.says(
          "POST /api/events HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n",
          `Content-Length: ${MOST_BYTES + 1}\r\n\r\n`,
        );
        const { status, headers, body } = await wire.hears();
        expectProblem({ status, headers, body: JSON.parse(body) }, 413, "PAYLOAD_TOO_LARGE");
      });
    });

    test("without a length the bytes are counted, whatever they are", async () => {
      expect((await posts(inChunks(bytes(eventText()), spaces(10)))).status).toBe(201);
      const tooMany = () => inChunks(bytes(eventText()), spaces(MOST_BYTES));
      expectProblem(await posts(tooMany()), 413, "PAYLOAD_TOO_LARGE");
      const plain = { "content-type": "text/plain" };
      expectProblem(await posts(tooMany(), plain), 413, "PAYLOAD_TOO_LARGE");
      expectProblem(await posts(inChunks(spaces(10)), plain), 415, "UNSUPPORTED_MEDIA_TYPE");
    });

    test.each([
      ["gzip", gzipSync],
      ["deflate", deflateSync],
      ["br", brotliCompressSync],
    ])("what %s unpacks to counts, not what was sent", async (encoding, pack) => {
      const headers = { ...JSON_TYPE, "content-encoding": encoding };
      expect((await posts(pack(eventText()), headers)).status).toBe(201);
      const bomb = pack(Buffer.alloc(50_000_000, " "));
      expect(bomb.length).toBeLessThan(MOST_BYTES);
      expectProblem(await posts(bomb, headers), 413, "PAYLOAD_TOO_LARGE");
      expectProblem(await posts(eventText(), headers), 400, "MALFORMED_JSON");
    });
  });

  describe("Type", () => {
    test.each([
      "application/json",
      "application/json; charset=utf-8",
      'application/json;charset="UTF-8"',
      "application/json; profile=x",
      "APPLICATION/JSON",
      "application/merge-patch+json",
    ])("%s is read", async (type) => {
      expect((await posts(eventText(), { "content-type": type })).status).toBe(201);
    });

    test.each([
      "text/plain",
      "text/json",
      "application/xml",
      "application/jsonp",
      "application/json-seq",
      "application/json, text/plain",
      "application/json; charset=iso-8859-1",
      "application/json; charset=utf-16",
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x",
      "json",
      "*/*",
      "",
    ])("«%s» is not", async (type) => {
      const before = await countOfEvents();
      const refused = await posts(bytes(eventText()), { "content-type": type });
      expectProblem(refused, 415, "UNSUPPORTED_MEDIA_TYPE");
      expect(await countOfEvents()).toBe(before);
    });

    test("a body without a type is not read, and an unknown encoding is not unpacked", async () => {
      expectProblem(await posts(bytes(eventText()), {}), 415, "UNSUPPORTED_MEDIA_TYPE");
      const headers = { ...JSON_TYPE, "content-encoding": "compress" };
      expectProblem(await posts(eventText(), headers), 415, "UNSUPPORTED_MEDIA_TYPE");
    });

    test("a POST without a body needs no type, also where it says its length or sends no chunk", async () => {
      const draft = await hanna.createsEvent({ status: "draft" });
      const other = await hanna.createsEvent({ status: "draft" });
      const publish = (id: string, options: AskOptions) =>
        ask(system.origin, "POST", `/api/events/${id}/publish`, {
          ...options,
          headers: { authorization: `Bearer ${hanna.token}`, ...options.headers },
        });
      expect((await publish(draft.id, {})).status).toBe(200);
      await onWire(system.origin, async (wire) => {
        wire.says(
          `POST /api/events/${other.id}/publish HTTP/1.1\r\nHost: here\r\n`,
          `Authorization: Bearer ${hanna.token}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        );
        expect((await wire.hears()).status).toBe(200);
      });
      expectProblem(await publish(draft.id, { body: bytes("x") }), 415, "UNSUPPORTED_MEDIA_TYPE");
    });
  });

  describe("Form", () => {
    test.each([
      "{",
      "{]",
      "nonsense",
      "{'title': 'single quotes'}",
      '{"title": "An evening",}',
      '{"title": undefined}',
      '{"title": NaN}',
      '{"title": "a\u0001b"}',
      "{} {}",
      "// nothing\n{}",
      "\u0000",
      " ",
    ])("malformed JSON: %j", async (text) => {
      expectProblem(await posts(text), 400, "MALFORMED_JSON");
    });

    test.each([
      ["a byte that begins nothing", [0xff]],
      ["half a character", [0xc3]],
      ["a character that is longer than it need be", [0xc0, 0xaf]],
      ["half a surrogate pair", [0xed, 0xa0, 0x80]],
    ])("what is not UTF-8 is not guessed at: %s", async (_words, broken) => {
      const before = await countOfEvents();
      const [head, tail] = eventText({ title: "An | evening" }).split("|");
      const refused = await posts(
        Buffer.concat([bytes(head ?? ""), Uint8Array.from(broken), bytes(tail ?? "")]),
      );
      expectProblem(refused, 400, "MALFORMED_JSON");
      expect(await countOfEvents()).toBe(before);
    });

    test("UTF-8 is read as it is, a byte order mark is skipped", async () => {
      const title = "Ünïcode 🎉 مساء 日本";
      const created = await posts(
        Buffer.concat([Uint8Array.from([0xef, 0xbb, 0xbf]), bytes(eventText({ title }))]),
      );
      expect(created.status).toBe(201);
      expect(created.body.title).toBe(title);
    });

    test.each(["null", "true", "5", '"text"', "[]", "[{}]"])("no object: %s", async (text) => {
      const refused = await posts(text);
      expectProblem(refused, 422, "VALIDATION_FAILED");
      expect(faultyFields(refused)).toEqual(["body"]);
    });

    test("no body where one is needed", async () => {
      const refused = await posts(undefined, {});
      expectProblem(refused, 422, "VALIDATION_FAILED");
      expect(faultyFields(refused)).toEqual(["capacity", "endDateTime", "startDateTime", "title"]);
    });

    test.each(["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "$where"])(
      "%s is a field like any unknown one",
      async (field) => {
        const text = eventText().replace("{", `{"${field}":{"isAdmin":true,"title":"x"},`);
        const refused = await posts(text);
        expectProblem(refused, 422, "VALIDATION_FAILED");
        expect(faultyFields(refused)).toEqual([field]);
        expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined();
      },
    );

    test("unknown fields inside known ones are refused by their path", async () => {
      const text = eventText().replace(
        "{",
        '{"coordinates":{"lat":1,"lng":2,"alt":3,"__proto__":{}},',
      );
      expect(faultyFields(await posts(text))).toEqual(["coordinates.__proto__", "coordinates.alt"]);
    });

    test("a thousand faults are not echoed whole", async () => {
      const fields = Object.fromEntries(
        Array.from({ length: 1000 }, (_, i) => [`${"x".repeat(500)}${i}`, 1]),
      );
      const refused = await posts(eventText(fields));
      expectProblem(refused, 422, "VALIDATION_FAILED");
      expect(JSON.stringify(refused.body).length).toBeLessThan(20_000);
    });

    test("a request that says less than it announced gets no event made", async () => {
      const before = await countOfEvents();
      await onWire(system.origin, async (wire) => {
        wire.says(
          "POST /api/events HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n",
          `Authorization: Bearer ${hanna.token}\r\nContent-Length: 5000\r\n\r\n${eventText()}`,
        );
      });
      expect((await api.get("/events?limit=1")).status).toBe(200);
      expect(await countOfEvents()).toBe(before);
    });
  });

  describe("Depth", () => {
    const DEPTH = 150_000;
    const lists = "[".repeat(DEPTH) + "]".repeat(DEPTH);
    const objects = `${'{"a":'.repeat(DEPTH)}1${"}".repeat(DEPTH)}`;

    // What goes from node to node is turned into text by a function that calls itself for every level.
    test.each([
      ["a whole body of objects", objects],
      ["lists for a text", `{"title":${lists}}`],
      ["objects for a text", `{"title":${objects}}`],
      ["lists for a list", `{"tags":${lists}}`],
      ["objects for an object", `{"coordinates":${objects}}`],
      ["lists for a number", `{"capacity":${lists}}`],
      ["lists for an unknown field", `{"nonsense":${lists}}`],
      ["a little too much", `{"nonsense":${"[".repeat(40)}${"]".repeat(40)}}`],
    ])("%s: no further than means anything", async (_words, body) => {
      expect(body.length).toBeLessThan(MOST_BYTES);
      const refused = await posts(body);
      expectProblem(refused, 422, "VALIDATION_FAILED");
      expect(faultyFields(refused)).toEqual(["body"]);
      const anonymous = await posts(body, { ...JSON_TYPE, authorization: "Bearer forged" });
      expectProblem(anonymous, 401, "UNAUTHENTICATED");
    });
  });
});
