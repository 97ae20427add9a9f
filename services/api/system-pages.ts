import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { dirname, join } from "node:path";
import { MethodNotAllowed, ServiceUnavailable } from "../../lib/errors";
import { entityTag, isKnown } from "./entity-tag";

/** Answers a GET of one fixed path at the root. */
type Page = (req: IncomingMessage, res: ServerResponse) => Promise<void>;

const METHODS = ["GET", "HEAD"];
const HTML = "text/html; charset=utf-8";
const SCRIPT = "text/javascript; charset=utf-8";

const DOCS_PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Marquee API</title>
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <link rel="stylesheet" href="/docs/swagger-ui.css">
    <link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
  </head>
  <body>
    <div id="docs"></div>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`;

/** A file of its own and no inline script, so that the content security policy needs no exception. */
const DOCS_SCRIPT = `SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  persistAuthorization: true,
  validatorUrl: null,
});
`;

const VIEWER_FILES: Record<string, string> = {
  "swagger-ui.css": "text/css; charset=utf-8",
  "swagger-ui-bundle.js": SCRIPT,
  "favicon-32x32.png": "image/png",
};

const JSON_TYPE = "application/json; charset=utf-8";

/** A page that is the same until the next start. */
function fixed(type: string, body: string | Buffer, cache = "no-cache"): Page {
  const tag = entityTag(undefined, body);
  return async (req, res) => {
    const known = isKnown(req.headers["if-none-match"], tag);
    const headers = { ETag: tag, "Cache-Control": cache };
    res.writeHead(known ? 304 : 200, known ? headers : { ...headers, "Content-Type": type });
    res.end(known ? undefined : body);
  };
}

/** What a health check reads, never from a cache. */
const sendHealthy = (res: ServerResponse) => {
  res.writeHead(200, { "Content-Type": JSON_TYPE, "Cache-Control": "no-store" });
  res.end(JSON.stringify({ status: "ok" }));
};

/** Answers OPTIONS, a browser's preflight included, with the methods of the path. */
export function sendOptions(res: ServerResponse, methods: string[]): void {
  res.writeHead(204, { Allow: methods.join(", "), "Content-Length": "0" });
  res.end();
}

export interface SystemPages {
  /**
   * Answers what lies at the root beside the API; false where nothing does.
   *
   * @throws MethodNotAllowed
   */
  serve(req: IncomingMessage, res: ServerResponse, path: string): Promise<boolean>;
}

/**
 * @param parts.openApi the API's description
 * @param parts.isReady whether requests can be served
 */
export function systemPages(parts: {
  openApi: unknown;
  isReady: () => Promise<boolean>;
}): SystemPages {
  // Its entry would load into this process all that is for a browser.
  const viewer = dirname(require.resolve("swagger-ui-dist/package.json"));
  const pages = new Map<string, Page>([
    ["/health/live", async (_req, res) => sendHealthy(res)],
    [
      "/health/ready",
      async (_req, res) => {
        if (!(await parts.isReady())) throw new ServiceUnavailable({ retryAfter: 1 });
        sendHealthy(res);
      },
    ],
    ["/openapi.json", fixed(JSON_TYPE, JSON.stringify(parts.openApi))],
    ["/docs", fixed(HTML, DOCS_PAGE)],
    ["/docs/start.js", fixed(SCRIPT, DOCS_SCRIPT)],
    ...Object.entries(VIEWER_FILES).map(([file, type]): [string, Page] => [
      `/docs/${file}`,
      fixed(type, readFileSync(join(viewer, file)), "public, max-age=3600"),
    ]),
  ]);

  return {
    async serve(req, res, path) {
      const page = pages.get(path.length > 1 ? path.replace(/\/$/, "") : path);
      if (!page) return false;
      if (req.method === "OPTIONS") sendOptions(res, METHODS);
      else if (req.method === "GET" || req.method === "HEAD") await page(req, res);
      else throw new MethodNotAllowed({ allow: METHODS });
      return true;
    },
  };
}
