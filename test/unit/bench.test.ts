/** The parts of the benches that decide and compute; what they measure is measured by running them. */
import { execFileSync } from "node:child_process";
import { createSecretKey } from "node:crypto";
import fc from "fast-check";
import jwt from "jsonwebtoken";
import {
  type Finding,
  finding,
  isSteady,
  median,
  onMachineThatIs,
  percentile,
  verdictOf,
  written,
} from "../../bench/figures";
import { attendeeAt, HOST, tokenOf, userId } from "../../bench/people";
import { placeOf, sharesOf, timeByPlace } from "../../bench/profile";
import { findingsTable, page } from "../../bench/report";
import { retryAfterMs } from "../../bench/retry-after";
import { readSettings } from "../../bench/settings";
import { isId } from "../../lib/ids";

describe("Figures", () => {
  test.each([
    [[5], 5],
    [[3, 1, 2], 2],
    [[4, 1, 3, 2], 2.5],
    [[10, 9, 100], 10],
  ])("the median of %j is %d", (values, expected) => {
    expect(median(values)).toBe(expected);
  });

  test("nothing has no median", () => {
    expect(() => median([])).toThrow("No values");
  });

  test("a percentile is one of the values, and so many are not above it", () => {
    const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect(percentile(hundred, 50)).toBe(50);
    expect(percentile(hundred, 99)).toBe(99);
    expect(percentile(hundred, 100)).toBe(100);
    expect(percentile([7], 1)).toBe(7);
    expect(percentile([], 99)).toBeNaN();
    fc.assert(
      fc.property(
        fc.array(fc.integer(), { minLength: 1 }),
        fc.integer({ min: 1, max: 100 }),
        (values, percent) => {
          const found = percentile(values, percent);
          expect(values).toContain(found);
          const notAbove = values.filter((value) => value <= found).length;
          const below = values.filter((value) => value < found).length;
          expect(notAbove * 100).toBeGreaterThanOrEqual(percent * values.length);
          expect(below * 100).toBeLessThan(percent * values.length);
        },
      ),
    );
  });

  test("are written for people", () => {
    expect([12_345.6, 60, 99.94, 2.345].map(written)).toEqual(["12,346", "60", "99.9", "2.35"]);
  });
});

describe("A verdict", () => {
  test.each([
    [2.5, { least: 2.5 }, "reached"],
    [2.49, { least: 2.5 }, "missed"],
    [60, { most: 60 }, "reached"],
    [60.1, { most: 60 }, "missed"],
    [Number.NaN, { most: 60 }, "no verdict"],
    [1, undefined, "reported"],
  ] as const)("on %d against %j is «%s»", (value, bar, expected) => {
    expect(verdictOf(value, bar)).toBe(expected);
  });

  test("is refused when a round of the baseline is more than 15 % from their median", () => {
    const [steady, unsteady] = [
      [850, 1000, 1150],
      [849, 1000, 1001],
    ];
    expect([isSteady(steady), isSteady(unsteady)]).toEqual([true, false]);
    expect(verdictOf(3, { least: 2.5 }, steady)).toBe("reached");
    expect(verdictOf(3, { least: 2.5 }, unsteady)).toBe("no verdict");
    expect(verdictOf(3, undefined, unsteady)).toBe("reported");
  });
});

test("A machine that somebody else uses gives no verdict, and says why", () => {
  const good = finding({ what: "x", value: 3, unit: "", bar: { least: 2.5 }, made: "rounds" });
  expect(onMachineThatIs(0.2, good)).toEqual(good);
  expect(onMachineThatIs(0.63, good)).toMatchObject({
    verdict: "no verdict",
    made: "rounds; the machine was 63 % busy before it began",
  });
  const reported = finding({ what: "x", value: 3, unit: "", made: "rounds" });
  expect(onMachineThatIs(1, reported)).toEqual(reported);
});

describe("Whoever honours Retry-After", () => {
  const now = Date.parse("2030-01-01T00:00:00Z");

  test.each([
    [503, "2", 2_000],
    [429, " 7 ", 7_000],
    [503, "Tue, 01 Jan 2030 00:00:05 GMT", 5_000],
    [409, "1", 1_000],
    [503, "0", 0],
  ])("waits after a %d with %j for %d ms", (status, header, expected) => {
    expect(retryAfterMs(status, header, now)).toBe(expected);
  });

  test("does not wait for a moment that has passed, nor for ever", () => {
    expect(retryAfterMs(503, "Mon, 31 Dec 2029 23:59:00 GMT", now)).toBe(0);
    expect(retryAfterMs(503, "86400", now)).toBe(30_000);
  });

  test("waits a second where no time, or nonsense, is named", () => {
    expect(retryAfterMs(503, undefined, now)).toBe(1_000);
    expect(retryAfterMs(429, "soon", now)).toBe(1_000);
  });

  test("takes other answers for final", () => {
    expect(retryAfterMs(201, "1", now)).toBeUndefined();
    expect(retryAfterMs(409, undefined, now)).toBeUndefined();
    expect(retryAfterMs(500, "1", now)).toBeUndefined();
  });
});

describe("The people of a bench", () => {
  test("come each once, in another order than that of their ids", () => {
    for (const crowd of [1, 2, 24_000, 96_000]) {
      const numbers = Array.from({ length: crowd }, (_, i) => attendeeAt(i, crowd));
      expect(new Set(numbers).size).toBe(crowd);
      expect(Math.min(...numbers.slice(0, 1000))).toBeGreaterThan(HOST);
      expect(numbers.every((n) => n <= crowd)).toBe(true);
    }
    const [first, second] = [attendeeAt(0, 96_000), attendeeAt(1, 96_000)];
    expect(Math.abs(first - second)).toBeGreaterThan(100);
  });

  test("have tokens of their own, and the host is one", () => {
    const key = createSecretKey(Buffer.alloc(48, 1));
    expect(isId(userId(200_000))).toBe(true);
    expect(jwt.verify(tokenOf(7, key), key)).toMatchObject({ sub: userId(7), role: "attendee" });
    expect(jwt.verify(tokenOf(HOST, key), key)).toMatchObject({ sub: userId(HOST), role: "host" });
  });
});

describe("Settings", () => {
  const names = ["hot", "nats", "memory"];
  const refusal = (environment: Record<string, string>) => () => readSettings(environment, names);

  test("have defaults, also where a variable is empty", () => {
    const defaults = {
      seconds: 8,
      only: names,
      databaseUrl: undefined,
      natsUrl: "nats://127.0.0.1:4222",
      logLevel: "info",
    };
    expect(readSettings({}, names)).toEqual(defaults);
    expect(readSettings({ BENCH_SECONDS: "", BENCH_ONLY: " " }, names)).toEqual(defaults);
  });

  test("choose scenarios, in the bench's order", () => {
    expect(readSettings({ BENCH_ONLY: "memory, hot" }, names).only).toEqual(["hot", "memory"]);
    expect(refusal({ BENCH_ONLY: "hot,cold" })).toThrow(
      "BENCH_ONLY names cold; there are hot, nats, memory.",
    );
  });

  test.each(["0", "121", "1.5", "-1", "eight"])("refuse %j seconds", (seconds) => {
    expect(refusal({ BENCH_SECONDS: seconds })).toThrow("BENCH_SECONDS");
  });

  test("name servers of this machine alone", () => {
    const url = "postgres://bench:secret@localhost:5432/bench";
    expect(readSettings({ BENCH_DATABASE_URL: url }, names).databaseUrl).toBe(url);
    for (const elsewhere of ["postgres://db.example.org/bench", "mysql://localhost/x", "bench"]) {
      expect(refusal({ BENCH_DATABASE_URL: elsewhere })).toThrow("BENCH_DATABASE_URL");
    }
    expect(refusal({ BENCH_NATS_URL: "nats://10.0.0.1:4222" })).toThrow("BENCH_NATS_URL");
    expect(refusal({ LOG_LEVEL: "loud" })).toThrow("LOG_LEVEL");
  });
});

describe("A profile", () => {
  test.each([
    ["file:///srv/marquee/node_modules/pg/lib/client.js", "pg"],
    ["/srv/marquee/node_modules/a/node_modules/@scope/b/index.js", "@scope/b"],
    ["file:///srv/marquee/dist/services/bookings/bookings.store.js", "services/bookings"],
    ["file:///srv/marquee/dist/lib/database.js", "lib"],
    ["node:net", "Node.js"],
  ])("puts %s under %s", (url, expected) => {
    expect(placeOf({ functionName: "f", url })).toBe(expected);
  });

  test("names what is not written in JavaScript by itself", () => {
    expect(placeOf({ functionName: "writev", url: "" })).toBe("native writev");
    expect(placeOf({ functionName: "(garbage collector)", url: "" })).toBe("(garbage collector)");
  });

  test("sums the time of places up, without what was idle", () => {
    const frame = (id: number, functionName: string, url: string) => ({
      id,
      callFrame: { functionName, url },
    });
    const nodes = [
      frame(1, "(idle)", ""),
      frame(2, "(garbage collector)", ""),
      frame(3, "query", "/m/node_modules/pg/lib/client.js"),
      frame(4, "parse", "/m/node_modules/pg/lib/parser.js"),
    ];
    const profile = { nodes, samples: [1, 3, 2, 4], timeDeltas: [9e6, 1e6, 1e6, 2e6] };
    expect(timeByPlace(profile)).toEqual([
      ["pg", 3],
      ["(garbage collector)", 1],
    ]);
    expect(sharesOf([timeByPlace(profile)])).toBe(
      "a node busy for 4.0 s: pg 75 %, (garbage collector) 25 %",
    );
  });
});

describe("The results", () => {
  const found: Finding[] = [
    finding({ what: "Speed", value: 3.1, unit: "", bar: { least: 2.5 }, made: "rounds" }),
    finding({ what: "Latency", value: 75, unit: "ms", bar: { most: 60 }, made: "rounds" }),
    finding({ what: "Else", value: 1234, unit: "", made: "rounds" }),
  ];
  const results = {
    title: "Bookings",
    date: new Date("2030-01-02T03:04:05Z"),
    machine: [["processors", "2"]] as const,
    seconds: 8,
    rounds: 3,
    findings: found,
    skipped: ["nats: no server"],
    faults: [],
    command: "npm run bench:bookings",
  };

  test("name each figure with its bar and its verdict", () => {
    expect(findingsTable(found).split("\n").slice(2)).toEqual([
      "| Speed   | 3.1      | ≥ 2.5   | reached  |",
      "| Latency | 75 ms    | ≤ 60 ms | missed   |",
      "| Else    | 1,234    | report  | reported |",
    ]);
  });

  test("are written as the formatter would, so that a new page can be committed as it is", () => {
    const written = page({ ...results, faults: ["seats is 3, not 2"] });
    const format = [require.resolve("@biomejs/biome/bin/biome"), "format"];
    const formatted = execFileSync(process.execPath, [...format, "--stdin-file-path=page.md"], {
      input: written,
      encoding: "utf8",
    });
    expect(formatted).toBe(written);
  });

  test("tell what was not measured and what was wrong", () => {
    const good = page(results);
    expect(good).toContain("- nats: no server");
    expect(good).toContain("counts in the database agreed");
    const bad = page({ ...results, faults: ["seats is 3, not 2"] });
    expect(bad).toContain("- seats is 3, not 2");
    expect(bad).not.toContain("counts in the database agreed");
  });
});
