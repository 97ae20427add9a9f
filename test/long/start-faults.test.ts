import { mkdirSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { Client } from "pg";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../lib/embedded-postgres";
import { build, cleanUp, launch, launchReady, newDataDir, processesOn } from "../support/processes";

/** Starts Marquee with something wrong; gives what it says, once it has ended as it should. */
async function refusalOf(environment: Record<string, string>, dataDir = newDataDir()) {
  const marquee = await launch({ dataDir, environment });
  await marquee.endsWith(1);
  expect(processesOn(dataDir)).toEqual([]);
  expect(marquee.output).not.toContain("ready");
  // A sentence is for people; a stack is for those who have written the program.
  expect(marquee.errors).not.toMatch(/^ +at /m);
  expect(marquee.errors).toMatch(/^Marquee cannot start\. .*\.\n$/s);
  return marquee.errors.slice("Marquee cannot start. ".length, -1);
}

beforeAll(build);

describe("npm start refuses in a sentence", () => {
  afterEach(cleanUp);

  test.each([
    [{ PORT: "http" }, 'PORT must be a whole number from 0 to 65535, not "http".'],
    [{ DATABASE_URL: "mysql://localhost/x" }, /^DATABASE_URL must be a URL that begins with post/],
    [{ SERVICES: "bookings" }, /^SERVICES needs DATABASE_URL/],
    [{ SERVICES: "kitchen", DATABASE_URL: "postgres://x/x" }, /^SERVICES names kitchen; there are/],
    [{ JWT_SECRET: "short" }, "JWT_SECRET must have 32 bytes or more."],
    [{ NODE_ENV: "production" }, "JWT_SECRET is required with NODE_ENV=production."],
    [{ HOST: "203.0.113.1" }, "HOST 203.0.113.1 is no address of this machine."],
    [{ HOST: "nowhere.invalid" }, "HOST nowhere.invalid is no address of this machine."],
    [
      { BCRYPT_ROUNDS: "99", LOG_LEVEL: "loud" },
      /^BCRYPT_ROUNDS must be .*\nLOG_LEVEL must be one of [^\n]*$/,
    ],
  ])("the variables %j", async (environment, sentence) => {
    const said = await refusalOf(environment as Record<string, string>);
    if (typeof sentence === "string") expect(said).toBe(sentence);
    else expect(said).toMatch(sentence);
  });

  test("a port that is taken, and leaves whoever has it alone", async () => {
    const dataDir = newDataDir();
    const first = await launchReady({ dataDir });
    const said = await refusalOf({ PORT: String(first.port) });
    expect(said).toBe(`Port ${first.port} on 127.0.0.1 is in use; set PORT to another one.`);
    await first.answers("/health/ready", 200);
    await first.stops();
  });

  test("a data folder that another Marquee uses, and leaves that one alone", async () => {
    const dataDir = newDataDir();
    const first = await launchReady({ dataDir });
    const second = await launch({ dataDir });
    await second.endsWith(1);
    expect(second.errors).toMatch(
      /^Marquee cannot start\. .* is in use by another Marquee [^\n]*\n$/,
    );
    await first.answers("/health/ready", 200);
    await first.stops();
    expect(processesOn(dataDir)).toEqual([]);
  });

  test("a data folder that is a file", async () => {
    const file = join(newDataDir(), "file");
    writeFileSync(file, "");
    expect(await refusalOf({ DATA_DIR: file })).toContain(`DATA_DIR ${file} cannot hold`);
    const secret = "a secret for tests alone, 32 bytes";
    const said = await refusalOf({ DATA_DIR: file, JWT_SECRET: secret });
    expect(said).toContain(`Cannot use the data folder ${file}: a file is in its place`);
  });

  test.each(["/proc/nothing", "/proc/nothing/further"])(
    "a data folder in a place where none can be made: %s",
    async (dataDir) => {
      expect(await refusalOf({}, dataDir)).toContain(`DATA_DIR ${dataDir} cannot hold`);
      const secret = "a secret for tests alone, 32 bytes";
      const said = await refusalOf({ JWT_SECRET: secret }, dataDir);
      expect(said).toContain(`Cannot use the data folder ${dataDir}: a part of the path`);
    },
  );

  test("a secret that is damaged", async () => {
    const dataDir = newDataDir();
    writeFileSync(join(dataDir, "jwt-secret"), "half of i");
    const said = await refusalOf({}, dataDir);
    expect(said).toBe("DATA_DIR holds a damaged jwt-secret; remove that file or set JWT_SECRET.");
  });

  test("a folder of somebody else's where the database should be", async () => {
    const dataDir = newDataDir();
    mkdirSync(join(dataDir, "postgres"));
    writeFileSync(join(dataDir, "postgres", "holiday.jpg"), "");
    expect(await refusalOf({}, dataDir)).toContain("holds no database of Marquee's");
  });
});

describe("npm start refuses in a sentence a DATABASE_URL", () => {
  let server: EmbeddedPostgres;
  let admin: Client;
  beforeAll(async () => {
    server = await startEmbeddedPostgres({ dataDir: newDataDir(), log: () => {} });
    admin = new Client({ connectionString: server.adminUrl });
    await admin.connect();
    await admin.query("CREATE ROLE guest LOGIN PASSWORD 'guest'");
  });
  afterAll(async () => {
    await admin.end();
    await server.stop();
    await cleanUp();
  });

  /** The server's URL with some parts changed. */
  const urlWith = (parts: Partial<Pick<URL, "username" | "password" | "pathname" | "port">>) =>
    Object.assign(new URL(server.url), parts).href;
  const place = () => `${new URL(server.url).host}/marquee`;

  const refusalOfUrl = async (url: string): Promise<string> => {
    const said = await refusalOf({ DATABASE_URL: url });
    // Whatever is wrong: a log is no place for passwords.
    expect(said).not.toContain(new URL(server.url).password);
    return said;
  };

  test("where nobody listens, or that names no machine", async () => {
    const nobody = await refusalOfUrl(urlWith({ port: "1" }));
    expect(nobody).toBe(
      "The database of DATABASE_URL, 127.0.0.1:1/marquee, cannot be used: nobody listens there.",
    );
    const nowhere = await refusalOfUrl("postgres://me:secret@nowhere.invalid/marquee");
    expect(nowhere).toMatch(/DATABASE_URL, nowhere\.invalid\/marquee, cannot be used: .*name/);
  });

  test("with a wrong password or none, another's name, or no database", async () => {
    const wrong = await refusalOfUrl(urlWith({ password: "guess" }));
    expect(wrong).toContain(
      `${place()}, cannot be used: password authentication failed for user "marquee".`,
    );
    const none = await refusalOfUrl(urlWith({ password: "" }));
    expect(none).toContain("it wants a password, and there is none in the URL.");
    const stranger = await refusalOfUrl(urlWith({ username: "nobody" }));
    expect(stranger).toContain('authentication failed for user "nobody"');
    const absent = await refusalOfUrl(urlWith({ pathname: "/absent" }));
    expect(absent).toContain('database "absent" does not exist.');
    const unnamed = await refusalOfUrl(urlWith({ pathname: "/" }));
    expect(unnamed).toContain("the URL names no database.");
  });

  test("whose role may not create tables, and says what would help", async () => {
    const guest = { username: "guest", password: "guest" };
    const said = await refusalOfUrl(urlWith(guest));
    expect(said).toContain("the role guest may not create tables in it; make it the owner");
    // What it says does help.
    await admin.query("CREATE DATABASE guestbook");
    const [, help = ""] = /\((ALTER DATABASE .*)\)/.exec(said) ?? [];
    await admin.query(help.replace('"marquee"', "guestbook"));
    const marquee = await launchReady({
      dataDir: newDataDir(),
      environment: { DATABASE_URL: urlWith({ ...guest, pathname: "/guestbook" }) },
    });
    await marquee.stops();
  });

  test("whose server only reads", async () => {
    await admin.query("CREATE DATABASE archive OWNER marquee");
    await admin.query("ALTER DATABASE archive SET default_transaction_read_only = on");
    const said = await refusalOfUrl(urlWith({ pathname: "/archive" }));
    expect(said).toContain("/archive, cannot be used: it is read-only.");
  });

  test("that lets migrations fail, and names the first", async () => {
    await admin.query("CREATE DATABASE crowded OWNER marquee");
    const crowded = new Client({ connectionString: urlWith({ pathname: "/crowded" }) });
    await crowded.connect();
    await crowded.query("CREATE TABLE users (something text)");
    await crowded.end();
    const said = await refusalOfUrl(urlWith({ pathname: "/crowded" }));
    expect(said).toBe(
      'The tables cannot be brought up to date (0001-users-and-sessions): relation "users" already exists.',
    );
  });

  test("whose server is older than 15", async () => {
    const { rows } = await admin.query("SELECT current_setting('server_version_num') AS number");
    const older = await inBetween(Number(new URL(server.url).port), (answer) =>
      answer.replaceAll(rows[0].number, "140020"),
    );
    try {
      const said = await refusalOfUrl(urlWith({ port: String(older.port) }));
      expect(said).toMatch(/it is PostgreSQL \S+, and Marquee needs 15 or newer\.$/);
    } finally {
      older.close();
    }
  });

  test("whose server speaks another language, or none", async () => {
    const silent = await listening(createServer((socket) => socket.on("error", () => {})));
    const talkative = await listening(
      createServer((socket) => {
        socket.on("error", () => {});
        socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
      }),
    );
    try {
      const [first, second] = await Promise.all([
        refusalOfUrl(urlWith({ port: String(silent.port) })),
        refusalOfUrl(urlWith({ port: String(talkative.port) })),
      ]);
      expect(first).toContain("cannot be used: it does not answer.");
      expect(second).toContain("cannot be used: ");
    } finally {
      silent.close();
      talkative.close();
    }
  });
});

async function listening(server: Server) {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address ? address.port : 0,
    close: () => server.close(),
  };
}

/** Stands between a client and a server, and changes what the server says to something as long. */
function inBetween(port: number, change: (answer: string) => string) {
  return listening(
    createServer((client) => {
      const server = connect(port, "127.0.0.1");
      for (const socket of [client, server]) socket.on("error", () => {});
      client.pipe(server);
      // latin1: every byte is one character, and comes out as it went in.
      server.on("data", (chunk) => client.write(change(chunk.toString("latin1")), "latin1"));
      server.on("end", () => client.end());
    }),
  );
}
