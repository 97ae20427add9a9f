import type { AddressInfo } from "node:net";
import { readBody } from "../../services/api/body";
import { type HttpServer, httpServer } from "../../services/api/http-server";
import { sendProblem } from "../../services/api/problem";
import { expectProblem } from "../support/problems";
import { testConfig } from "../support/system";
import { onWire, type RawAnswer } from "../support/wire";

const HEADER = "Host: here\r\nX-Request-Id: mine\r\nContent-Length: 10\r\n\r\n";

/** A server with little patience; it answers with the body, after it has sent half of it where asked to. */
describe("A client that sends too slowly", () => {
  let http: HttpServer;
  let origin: string;
  const answered: number[] = [];
  beforeAll(async () => {
    http = httpServer(
      testConfig("postgres://nobody@127.0.0.1/none"),
      async (req, res, requestId) => {
        res.once("finish", () => answered.push(res.statusCode));
        if (req.url === "/half") res.write("half");
        try {
          res.end(JSON.stringify(await readBody(req, res)));
        } catch (error) {
          sendProblem(req, res, error, requestId);
        }
      },
      { headersMs: 300, requestMs: 600, lookEveryMs: 50 },
    );
    await http.listen();
    origin = `http://127.0.0.1:${(http.server.address() as AddressInfo).port}`;
  });
  beforeEach(() => {
    answered.length = 0;
  });
  afterAll(() => http.drain());

  const expectTimeout = ({ status, headers, body }: RawAnswer) => {
    expectProblem({ status, headers, body: JSON.parse(body) }, 408, "REQUEST_TIMEOUT");
    expect(headers.get("connection")).toBe("close");
  };

  test.each([
    ["nothing at all", ""],
    ["a header without an end", "GET / HTTP/1.1\r\nHost: here\r\n"],
  ])("%s: 408, and the end of the connection", async (_words, bytes) => {
    await onWire(origin, async (wire) => {
      expectTimeout(await wire.says(bytes).hears());
      await wire.isClosed();
    });
  });

  test("a body without an end: 408, with what every answer has, and logged as such", async () => {
    await onWire(origin, async (wire) => {
      wire.says(`POST / HTTP/1.1\r\nContent-Type: application/json\r\n${HEADER}`, "[1,");
      const answer = await wire.hears();
      expectTimeout(answer);
      expect(answer.headers.get("x-request-id")).toBe("mine");
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
      await wire.isClosed();
    });
    expect(answered).toEqual([408]);
  });

  test("after half an answer nothing follows but the end", async () => {
    await onWire(origin, async (wire) => {
      wire.says(`POST /half HTTP/1.1\r\nContent-Type: application/json\r\n${HEADER}`, "[1,");
      await wire.isClosed();
      await expect(wire.hears()).rejects.toThrow(/half\r\n$/);
    });
  });

  test("who has been answered may be silent for longer, and ask again", async () => {
    await onWire(origin, async (patient) => {
      const asks = "POST / HTTP/1.1\r\nContent-Type: application/json\r\n";
      expect((await patient.says(asks, HEADER, "[1,2,3   ]").hears()).status).toBe(200);
      await onWire(origin, async (late) => expectTimeout(await late.hears()));
      const again = await patient.says(asks, HEADER, "[1,2,3   ]").hears();
      expect([again.status, again.body]).toEqual([200, "[1,2,3]"]);
    });
  });
});
