import type { ValueOf } from "../../lib/contract/rules";
import type { bookingShape } from "../../services/bookings/bookings.contract";
import type { eventShape } from "../../services/events/events.contract";
import { type DescriptionCheck, describedBy } from "./api-description";

export type Event = ValueOf<typeof eventShape>;
export type Booking = ValueOf<typeof bookingShape>;

export interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: a test knows what it asked for; the description checks the shape
  body: any;
}

export interface RequestOptions {
  token?: string;
  headers?: Record<string, string>;
  body?: unknown;
}

/** Talks to a system over HTTP and holds every answer against the system's description of itself. */
export class Api {
  private constructor(
    readonly origin: string,
    private readonly description: DescriptionCheck,
  ) {}

  static async at(origin: string): Promise<Api> {
    return new Api(origin, await describedBy(origin));
  }

  /** @param path below `/api` */
  async request(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    const { token, headers = {}, body } = options;
    const url = new URL(`${this.origin}/api${path}`);
    const answer = await fetch(url, {
      method,
      headers: {
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined
        ? {}
        : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await answer.text();
    const type = answer.headers.get("content-type");
    const parsed = text === "" ? undefined : type?.includes("json") ? JSON.parse(text) : text;
    if (answer.status !== 304) {
      this.description.check(method, url.pathname, answer.status, type, parsed);
    }
    return { status: answer.status, headers: answer.headers, body: parsed };
  }

  get = (path: string, options?: RequestOptions) => this.request("GET", path, options);

  /** A new person with an account, signed in. */
  async registers(name: string, role: "attendee" | "host" = "attendee"): Promise<Person> {
    counter++;
    const email = `${name.toLowerCase().replace(/\W/g, "")}.${counter}.${process.pid}@example.org`;
    const password = "correct horse 1";
    const answer = await this.request("POST", "/auth/register", {
      body: { name, email, password, role },
    });
    expectStatus(answer, 201);
    const { user, token, refreshToken } = answer.body;
    return new Person(this, { id: user.id, name, email, password }, token, refreshToken);
  }

  attendee = (name: string) => this.registers(name, "attendee");
  host = (name: string) => this.registers(name, "host");
}

let counter = 0;

function expectStatus(answer: Answer, status: number): void {
  if (answer.status !== status) {
    throw new Error(`Expected ${status}, got ${answer.status}: ${JSON.stringify(answer.body)}`);
  }
}

const DAY_MS = 86_400_000;

/** A moment so many days from now. */
export const inDays = (days: number): string => new Date(Date.now() + days * DAY_MS).toISOString();

/** Somebody with an account, who does things over HTTP; each thing fails the test when it is refused. */
export class Person {
  constructor(
    readonly api: Api,
    readonly who: { id: string; name: string; email: string; password: string },
    public token: string,
    public refreshToken: string,
  ) {}

  /** Asks for something and gives the answer, whatever it is. */
  tries(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer> {
    return this.api.request(method, path, {
      token: this.token,
      ...(body === undefined ? {} : { body }),
      ...(headers ? { headers } : {}),
    });
  }

  /** Asks for something that must be granted with this status; gives the body. */
  // biome-ignore lint/suspicious/noExplicitAny: as Answer.body
  async does(status: number, method: string, path: string, body?: unknown): Promise<any> {
    const answer = await this.tries(method, path, body);
    expectStatus(answer, status);
    return answer.body;
  }

  async createsEvent(fields: Record<string, unknown> = {}): Promise<Event> {
    return this.does(201, "POST", "/events", {
      title: "An evening",
      startDateTime: inDays(7),
      endDateTime: inDays(7.1),
      capacity: 10,
      ...fields,
    });
  }

  async books(event: { id: string }, quantity?: number): Promise<Booking> {
    return this.does(201, "POST", "/bookings", {
      eventId: event.id,
      ...(quantity === undefined ? {} : { quantity }),
    });
  }

  triesToBook = (event: { id: string }, quantity?: number): Promise<Answer> =>
    this.tries("POST", "/bookings", {
      eventId: event.id,
      ...(quantity === undefined ? {} : { quantity }),
    });

  async cancels(booking: { id: string }): Promise<void> {
    await this.does(204, "DELETE", `/bookings/${booking.id}`);
  }

  triesToWait = (event: { id: string }, quantity?: number): Promise<Answer> =>
    this.tries("POST", `/events/${event.id}/waitlist`, quantity === undefined ? {} : { quantity });

  /** Goes on the waiting list; gives the position. */
  async waitsFor(event: { id: string }, quantity?: number): Promise<number> {
    const answer = await this.triesToWait(event, quantity);
    expectStatus(answer, 201);
    return answer.body.position;
  }

  /** The position on the waiting list, or undefined for who is not on it. */
  async placeFor(event: { id: string }): Promise<number | undefined> {
    const answer = await this.tries("GET", `/events/${event.id}/waitlist`);
    if (answer.body.code === "WAITLIST_ENTRY_NOT_FOUND") return undefined;
    expectStatus(answer, 200);
    return answer.body.position;
  }

  /** The booking for an event that stands, or stood last; undefined for who has none. */
  async bookingOf(event: { id: string }): Promise<Booking | undefined> {
    const { data } = await this.does(200, "GET", `/bookings/my-bookings?eventId=${event.id}`);
    return data[0];
  }

  /** Notifications once there are at least so many of this type; they arrive a moment after what they tell. */
  // biome-ignore lint/suspicious/noExplicitAny: as Answer.body
  async isTold(type: string, count = 1): Promise<any[]> {
    const deadline = Date.now() + 10_000;
    for (;;) {
      const { data } = await this.does(200, "GET", `/notifications?type=${type}&limit=100`);
      if (data.length >= count) return data;
      if (Date.now() > deadline) throw new Error(`${this.who.name} was not told ${type}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
