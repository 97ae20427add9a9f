import fc from "fast-check";
import {
  boolean,
  id,
  instant,
  integer,
  list,
  number,
  object,
  oneOf,
  queryBoolean,
  queryInteger,
  queryNumber,
  queryPoint,
  type Rule,
  text,
} from "../../lib/contract/rules";
import { newId } from "../../lib/ids";
import { anyText } from "../support/any-text";
import { judged } from "../support/guarded";

/** Judges many values by one rule: `[given, what the handler sees]`, or what is refused. */
async function expectAccepted(rule: Rule, cases: readonly (readonly [unknown, unknown])[]) {
  for (const [given, seen] of cases) {
    expect({ given, ...(await judged(rule, given)) }).toEqual({ given, value: seen });
  }
}
async function expectRefused(rule: Rule, values: readonly unknown[], fault: RegExp) {
  for (const given of values) {
    expect({ given, ...(await judged(rule, given)) }).toEqual({
      given,
      fault: expect.stringMatching(fault),
    });
  }
}

const WRONG_TYPES = [null, 0, 1.5, true, [], ["a"], {}, { length: 3 }];

describe("text", () => {
  const title = text({ minLength: 1, maxLength: 3 });

  test("is trimmed, unless it is verbatim", async () => {
    await expectAccepted(title, [
      [" ab\t\n", "ab"],
      ["     abc     ", "abc"],
      ["a b", "a b"],
    ]);
    await expectAccepted(text({ minLength: 1, maxLength: 5, verbatim: true }), [
      [" ab ", " ab "],
      ["   ", "   "],
    ]);
  });

  test("has its length counted in code points after trimming", async () => {
    await expectAccepted(title, [
      ["😀😀😀", "😀😀😀"],
      ["مرحبا".slice(0, 3), "مرح"],
    ]);
    await expectRefused(title, ["😀😀😀😀", "abcd", "a".repeat(1_000_000)], /3 characters at most/);
    await expectRefused(title, ["", "   ", "\t\n"], /must not be empty/);
    await expectRefused(text({ minLength: 8, maxLength: 9 }), ["😀😀😀😀"], /8 characters or more/);
  });

  test("that PostgreSQL could not store as it was sent is refused", async () => {
    const any = text({ maxLength: 100 });
    await expectRefused(
      any,
      ["a\u0000b", "\u0000", "\ud83d", "\ude00\ud83d", "abc\ud800"],
      /not valid text/,
    );
    await expectRefused(text({ maxLength: 100, verbatim: true }), ["a\u0000"], /not valid text/);
  });

  test("keeps what is only unusual: quotes, wildcards, right-to-left, combining marks", async () => {
    const any = text({ maxLength: 100 });
    const unusual = ["'; DROP TABLE users; --", "%_\\", "a\u202eb", "e\u0301", "<b>"];
    await expectAccepted(
      any,
      unusual.map((value) => [value, value]),
    );
  });

  test("is one line unless it may have several, and without control characters", async () => {
    const line = text({ maxLength: 100 });
    const lines = text({ maxLength: 100, multiline: true });
    const breaks = ["a\nb", "a\r\nBcc: b", "a\tb", "\t\ta\n\nb"];
    await expectRefused(line, [...breaks, "a\u2028b", "a\u2029b"], /must be one line/);
    await expectAccepted(
      lines,
      [...breaks, "a\u2028b"].map((value) => [value, value.trim()]),
    );
    const controls = ["a\u0001b", "a\u001b[31mb", "a\u007fb", "a\u0085b"];
    await expectRefused(line, controls, /must be one line/);
    await expectRefused(lines, controls, /holds control characters/);
    const verbatim = text({ maxLength: 100, verbatim: true });
    await expectAccepted(
      verbatim,
      [...breaks, ...controls].map((value) => [value, value]),
    );
  });

  test("of another type is refused", async () => {
    await expectRefused(title, WRONG_TYPES, /must be text|must not be null/);
  });

  test("may be bounded in bytes", async () => {
    const password = text({ maxLength: 72, maxBytes: 72 });
    await expectAccepted(password, [["ü".repeat(36), "ü".repeat(36)]]);
    // Also where there are too many characters: whoever took away those would be refused for the bytes.
    await expectRefused(password, ["ü".repeat(37), "x".repeat(73)], /72 bytes at most/);
  });

  test("has its pattern, its last look and its new form, in this order and after trimming", async () => {
    const rule = text({
      maxLength: 10,
      pattern: /^[a-z]+$/i,
      hint: "must be letters",
      also: (value) => (value === "no" ? "must not be no" : undefined),
      normalize: (value) => value.toUpperCase(),
    });
    await expectAccepted(rule, [[" yes ", "YES"]]);
    await expectRefused(rule, ["y3s"], /^must be letters$/);
    await expectRefused(rule, [" no"], /^must not be no$/);
  });

  test("that is let through is what was sent, trimmed, whatever it is", async () => {
    const any = text({ maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(anyText({ maxLength: 30 }), async (value) => {
        const trimmed = value.trim();
        const storable = value.isWellFormed() && !value.includes("\u0000");
        const isLine = !/[\p{Cc}\u2028\u2029]/u.test(trimmed);
        const outcome = await judged(any, value);
        expect("value" in outcome).toBe(storable && isLine && [...trimmed].length <= 20);
        if ("value" in outcome) expect(outcome.value).toBe(trimmed);
      }),
    );
  });
});

describe("id", () => {
  test("is a UUID of any version, given back in lower case", async () => {
    const made = newId();
    await expectAccepted(id(), [
      [made, made],
      [made.toUpperCase(), made],
      ["6fa459ea-ee8a-3ca4-894e-db77e160355e", "6fa459ea-ee8a-3ca4-894e-db77e160355e"],
    ]);
  });

  test("of any other form is refused", async () => {
    const made = newId();
    await expectRefused(
      id(),
      [
        "",
        "42",
        made.replaceAll("-", ""),
        `{${made}}`,
        ` ${made}`,
        `${made}\n`,
        `urn:uuid:${made}`,
        made.replace(/.$/, "g"),
        `${made}' OR 1=1`,
      ],
      /must be a UUID/,
    );
    await expectRefused(id(), WRONG_TYPES, /must be a UUID|must not be null/);
  });
});

describe("instant", () => {
  test("has Z or an offset and comes back in UTC with milliseconds", async () => {
    await expectAccepted(instant(), [
      ["2030-05-01T12:00:00Z", "2030-05-01T12:00:00.000Z"],
      ["2030-05-01T12:00Z", "2030-05-01T12:00:00.000Z"],
      ["2030-05-01T12:00:00.5Z", "2030-05-01T12:00:00.500Z"],
      ["2030-05-01T12:00:00.123456789Z", "2030-05-01T12:00:00.123Z"],
      ["2030-05-01T12:00:00+02:00", "2030-05-01T10:00:00.000Z"],
      ["2030-05-01T23:30:00-05:30", "2030-05-02T05:00:00.000Z"],
      ["2030-01-01T00:00:00+14:00", "2029-12-31T10:00:00.000Z"],
    ]);
  });

  test("falls on a day that the calendar has", async () => {
    await expectAccepted(instant(), [
      ["2028-02-29T00:00:00Z", "2028-02-29T00:00:00.000Z"],
      ["2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000Z"],
      ["2030-12-31T23:59:59Z", "2030-12-31T23:59:59.000Z"],
    ]);
    await expectRefused(
      instant(),
      [
        "2030-02-30T00:00:00Z",
        "2029-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2030-04-31T00:00:00Z",
        "2030-13-01T00:00:00Z",
        "2030-00-10T00:00:00Z",
        "2030-01-00T00:00:00Z",
        "2030-01-32T00:00:00Z",
      ],
      /a day that does not exist/,
    );
  });

  test("lies between 1970 and 9999 in UTC", async () => {
    await expectAccepted(instant(), [
      ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"],
      ["1969-12-31T23:00:00-01:00", "1970-01-01T00:00:00.000Z"],
      ["9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"],
    ]);
    await expectRefused(
      instant(),
      [
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "0001-01-01T00:00:00Z",
      ],
      /between the years 1970 and 9999/,
    );
  });

  test("of any other form is refused", async () => {
    await expectRefused(
      instant(),
      [
        "",
        "tomorrow",
        "2030-05-01",
        "2030-05-01T12:00:00",
        "2030-05-01T12:00:00z",
        "2030-05-01t12:00:00Z",
        "2030-05-01 12:00:00Z",
        "2030-05-01T12:00:00+0200",
        "2030-05-01T12:00:00+2:00",
        "2030-05-01T12:00:00+24:00",
        "2030-05-01T24:00:00Z",
        "2030-05-01T12:60:00Z",
        "2030-05-01T12:00:60Z",
        "2030-5-1T12:00:00Z",
        "+012030-05-01T12:00:00Z",
        "-000001-05-01T12:00:00Z",
        " 2030-05-01T12:00:00Z",
        "2030-05-01T12:00:00Z\n",
        "２０３０-05-01T12:00:00Z",
        1_900_000_000_000,
        new Date(0),
        ["2030-05-01T12:00:00Z"],
      ],
      /ISO 8601 time with Z or an offset/,
    );
  });

  test("comes back as the very moment that went in, and is accepted again", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.date({
          min: new Date(0),
          max: new Date("9999-12-31T23:59:59.999Z"),
          noInvalidDate: true,
        }),
        async (moment) => {
          const written = moment.toISOString();
          expect(await judged(instant(), written)).toEqual({ value: written });
        },
      ),
    );
  });
});

describe("parameters of a query come as text", () => {
  test("a whole number", async () => {
    const limit = queryInteger({ min: -5, max: 100 });
    await expectAccepted(limit, [
      ["1", 1],
      ["100", 100],
      ["-5", -5],
      ["007", 7],
      [20, 20],
    ]);
    await expectRefused(limit, ["101", "-6", 101], /between -5 and 100/);
    await expectRefused(
      limit,
      [
        "",
        " 1",
        "1.0",
        "1e2",
        "0x10",
        "+1",
        "--1",
        "one",
        "1".repeat(16),
        1.5,
        Number.NaN,
        Number.POSITIVE_INFINITY,
        true,
        ["5"],
        ["5", "6"],
        { "0": "5" },
      ],
      /must be a whole number/,
    );
  });

  test("a number", async () => {
    const radius = queryNumber({ min: 0, max: 20_038 });
    await expectAccepted(radius, [
      ["0", 0],
      ["2.5", 2.5],
      ["20038", 20_038],
      [0.25, 0.25],
    ]);
    await expectRefused(radius, ["-0.1", "20038.1"], /between 0 and 20038/);
    await expectRefused(
      radius,
      ["", ".5", "5.", "1e3", "NaN", "Infinity", "1,5", ["5"], {}, true],
      /must be a number/,
    );
  });

  test("true or false", async () => {
    await expectAccepted(queryBoolean(), [
      ["true", true],
      ["false", false],
      [true, true],
      [false, false],
    ]);
    await expectRefused(
      queryBoolean(),
      ["", "TRUE", "1", "0", "yes", 1, 0, ["true"], {}],
      /must be true or false/,
    );
  });

  test("a place", async () => {
    await expectAccepted(queryPoint(), [
      ["59.91,10.75", { lat: 59.91, lng: 10.75 }],
      ["-90,180", { lat: -90, lng: 180 }],
      ["90,-180", { lat: 90, lng: -180 }],
      [
        { lat: 1, lng: 2 },
        { lat: 1, lng: 2 },
      ],
    ]);
    await expectRefused(
      queryPoint(),
      ["91,0", "-90.1,0", "0,180.5", "0,-181", { lat: 91, lng: 0 }, { lat: Number.NaN, lng: 0 }],
      /must be degrees/,
    );
    await expectRefused(
      queryPoint(),
      [
        "",
        ",",
        "1",
        "1,",
        "1,2,3",
        "1 ,2",
        "north,east",
        "1e1,2",
        12,
        true,
        // What a query such as near=1&near=2 becomes, and what other ways of parsing might make.
        ["1", "2"],
        { lat: "1", lng: "2" },
        { lat: "'; DROP", lng: "x" },
        { lat: 1 },
        { lat: 1, lng: 2, radiusKm: 3 },
      ],
      /a latitude and a longitude/,
    );
  });
});

describe("JSON values are taken as they are and never converted", () => {
  test("numbers", async () => {
    await expectAccepted(integer({ min: 1, max: 10 }), [
      [1, 1],
      [10, 10],
    ]);
    await expectRefused(integer({ min: 1 }), [0, -1, Number.MIN_SAFE_INTEGER], /1 or more/);
    await expectRefused(integer({ max: 10 }), [11, 1e300], /10 at most/);
    await expectRefused(integer(), [1.5, -0.1], /must be a whole number/);
    await expectRefused(
      number(),
      ["1", "", true, [], {}, Number.NaN, Number.POSITIVE_INFINITY],
      /must be a number/,
    );
    await expectAccepted(number({ min: -90, max: 90 }), [[-89.5, -89.5]]);
  });

  test("booleans", async () => {
    await expectAccepted(boolean(), [
      [true, true],
      [false, false],
    ]);
    await expectRefused(boolean(), ["true", 1, 0, [], {}], /must be true or false/);
  });

  test("words of a few", async () => {
    const color = oneOf(["red", "green"]);
    await expectAccepted(color, [["red", "red"]]);
    await expectRefused(
      color,
      ["", "Red", "red ", "blue", "toString", 0, ["red"], {}, true],
      /must be one of: red, green/,
    );
  });

  test("lists, every entry by its rule", async () => {
    const tags = list(text({ minLength: 1, maxLength: 3 }), { max: 2 });
    await expectAccepted(tags, [
      [[], []],
      [
        [" a ", "b"],
        ["a", "b"],
      ],
    ]);
    await expectRefused(tags, [["a", "b", "c"]], /2 entries at most/);
    await expectRefused(tags, ["a", { 0: "a" }, 1, true], /must be a list/);
    await expectRefused(tags, [["a", ""]], /must not be empty/);
    await expectRefused(tags, [["a", null]], /must not be null/);
    await expectRefused(tags, [["a", 1]], /must be text/);
  });

  test("objects with their fields and no others", async () => {
    const place = object({ lat: number({ min: -90, max: 90 }), lng: number() });
    await expectAccepted(place, [
      [
        { lat: 1, lng: 2 },
        { lat: 1, lng: 2 },
      ],
    ]);
    await expectRefused(place, ["1,2", 1, true, [1, 2]], /must be an object/);
    await expectRefused(place, [{}, { lat: 1 }], /is required/);
    await expectRefused(place, [{ lat: 91, lng: 0 }], /90 at most/);
    await expectRefused(place, [{ lat: 1, lng: 2, height: 3 }], /not a known field/);
  });
});
