/**
 * Acts that are done to a running system and to the model of it ({@link Model}), one after the other in any order;
 * after each the two must say the same.
 */
import fc from "fast-check";
import { HOLD_MS, type Model, OFFER_MS, type Outcome } from "./booking-model";
import { at, type EventStart, PEOPLE, Scene, said, type World } from "./booking-scene";

const MINUTE_MS = 60_000;
/** Access tokens live for an hour: nobody is sent further than this. */
const FURTHEST_MS = 50 * MINUTE_MS;

export type Command = fc.AsyncCommand<Model, Scene>;

interface Act<P> {
  /** Whether it makes sense now. */
  possible?(model: Model, params: P): boolean;
  /** Does it to the model. */
  expected(model: Model, params: P): Outcome;
  /** Does it to the system. */
  actual(scene: Scene, params: P): Promise<Outcome>;
  /** The events that it may have changed; all, unless told. */
  touches?(params: P): number[];
}

/** An act as commands that fast-check can put into sequences and take out of them. */
interface Commands<P> {
  /** With parameters that make sense. */
  readonly any: fc.Arbitrary<Command>;
  /** With these. */
  of(given: P): Command;
}

function commands<P>(name: string, params: fc.Arbitrary<P>, act: Act<NoInfer<P>>): Commands<P> {
  const of = (given: P): Command => ({
    check: (model) => act.possible?.(model, given) ?? true,
    toString: () => `${name} ${JSON.stringify(given)}`,
    async run(model, scene) {
      const must = act.expected(model, given);
      expect(await act.actual(scene, given)).toBe(must);
      const touched = act.touches?.(given) ?? scene.events.map((_, i) => i);
      for (const event of touched) await scene.compare(model, event);
    },
  });
  return { any: params.map(of), of };
}

const EVENTS = 2;
const event = fc.nat(EVENTS - 1);
const person = fc.nat(PEOPLE - 1);
const quantity = fc.integer({ min: 1, max: 3 });
const seats = fc.record({ event, person, quantity });
/** Of bookings and tickets the newest is number 0, and numbers go round; the newest are what most is done to. */
const some = fc.oneof(fc.constant(0), fc.nat(99));
const ofEvent = (params: { event: number }) => [params.event];
const newest = <T>(from: readonly T[], number: number): T =>
  at(from, from.length - 1 - (number % from.length));
const isHere = (model: Model, { person }: { person: number }) => !model.gone.has(person);
const hasBookings = (model: Model, { event }: { event: number }) =>
  at(model.events, event).bookings.length > 0;

interface TicketParams {
  event: number;
  booking: number;
  ticket: number;
}
const modelTicket = (model: Model, { event, booking, ticket }: TicketParams) =>
  newest(newest(at(model.events, event).bookings, booking).tickets, ticket);
const hasTickets = (model: Model, params: TicketParams) =>
  hasBookings(model, params) &&
  newest(at(model.events, params.event).bookings, params.booking).tickets.length > 0;
const door = (rest: string) => async (scene: Scene, params: TicketParams) => {
  const booking = newest(at(scene.bookings, params.event), params.booking);
  const { code } = newest(booking.tickets, params.ticket);
  return scene.host("POST", params.event, rest, { code });
};
const ticket = fc.record({ event, booking: some, ticket: some });

const books = commands("book", seats, {
  possible: isHere,
  expected: (model, { event, person, quantity }) =>
    at(model.events, event).book(person, quantity, model.now),
  actual: async (scene, { event, person, quantity }) =>
    said(await scene.person(person).triesToBook(scene.event(event), quantity)),
  touches: ofEvent,
});

/** Requests that arrive in one moment are decided in batches, in order of arrival. */
const bookTogether = commands("book together", fc.array(seats, { minLength: 2, maxLength: 6 }), {
  possible: (model, requests) => requests.every((request) => isHere(model, request)),
  expected: (model, requests) =>
    requests
      .map(({ event, person, quantity }) =>
        at(model.events, event).book(person, quantity, model.now),
      )
      .join(", "),
  async actual(scene, requests) {
    const outcomes = requests.map(({ event, person, quantity }) =>
      scene.internal(
        "bookings.$create",
        { eventId: scene.event(event).id, userId: scene.person(person).who.id, quantity },
        "201",
      ),
    );
    return (await Promise.all(outcomes)).join(", ");
  },
  touches: (requests) => [...new Set(requests.map(({ event }) => event))],
});

const cancels = commands("cancel", fc.record({ event, booking: some }), {
  possible: (model, params) =>
    hasBookings(model, params) &&
    isHere(model, newest(at(model.events, params.event).bookings, params.booking)),
  expected(model, params) {
    const event = at(model.events, params.event);
    return event.cancel(newest(event.bookings, params.booking), model.now);
  },
  async actual(scene, params) {
    const { id, userId } = newest(at(scene.bookings, params.event), params.booking);
    const owner = scene.people.find(({ who }) => who.id === userId);
    return owner ? said(await owner.tries("DELETE", `/bookings/${id}`)) : "nobody's";
  },
  touches: ofEvent,
});

const confirms = commands("confirm", fc.record({ event, booking: some }), {
  possible: hasBookings,
  expected(model, params) {
    const event = at(model.events, params.event);
    return event.confirm(newest(event.bookings, params.booking), model.now);
  },
  actual: (scene, params) =>
    scene.internal(
      "bookings.$confirm",
      { id: newest(at(scene.bookings, params.event), params.booking).id },
      "200",
    ),
  touches: ofEvent,
});

const waits = commands("wait", seats, {
  possible: isHere,
  expected: (model, { event, person, quantity }) =>
    at(model.events, event).wait(person, quantity, model.now),
  async actual(scene, { event, person, quantity }) {
    const answer = await scene.person(person).triesToWait(scene.event(event), quantity);
    return answer.status === 201 ? `201 as ${answer.body.position}` : said(answer);
  },
  touches: ofEvent,
});

const leaves = commands("leave", fc.record({ event, person }), {
  possible: isHere,
  expected: (model, { event, person }) => at(model.events, event).leave(person),
  actual: async (scene, { event, person }) =>
    said(await scene.person(person).tries("DELETE", scene.path(event, "/waitlist"))),
  touches: ofEvent,
});

const erases = commands("erase", fc.record({ person }), {
  possible: isHere,
  expected(model, { person }) {
    model.gone.add(person);
    for (const event of model.events) event.leave(person);
    for (const event of model.events) {
      for (const booking of event.bookings) {
        if (booking.person === person) event.cancel(booking, model.now);
      }
    }
    return "204";
  },
  actual: async (scene, { person }) =>
    said(await scene.person(person).tries("DELETE", "/users/me")),
});

const changesCapacity = commands(
  "change capacity",
  fc.record({ event, capacity: fc.integer({ min: 1, max: 6 }) }),
  {
    expected: (model, { event, capacity }) =>
      at(model.events, event).changeCapacity(capacity, model.now),
    actual: (scene, { event, capacity }) => scene.host("PATCH", event, "", { capacity }),
    touches: ofEvent,
  },
);

const changesPrice = commands(
  "change price",
  fc.record({ event, price: fc.constantFrom(0, 500, 900) }),
  {
    expected: (model, { event, price }) => at(model.events, event).changePrice(price, model.now),
    actual: (scene, { event, price }) => scene.host("PATCH", event, "", { price }),
    touches: ofEvent,
  },
);

const changesSale = commands(
  "change sale",
  fc.record({ event, open: fc.constantFrom(true, true, false) }),
  {
    expected: (model, { event, open }) => at(model.events, event).changeSale(open, model.now),
    actual: (scene, { event, open }) =>
      scene.host("PATCH", event, "", { saleEndsAt: open ? null : new Date(scene.world.began) }),
    touches: ofEvent,
  },
);

const step = (step: "publish" | "postpone" | "cancel") =>
  commands(`${step} event`, fc.record({ event }), {
    // What ends everything comes when there is something to end.
    possible: (model, params) =>
      step !== "cancel" || at(model.events, params.event).bookings.length > 3,
    expected(model, params) {
      const event = at(model.events, params.event);
      if (step === "publish") return event.publish(model.now);
      return step === "postpone" ? event.postpone(model.now) : event.callOff(model.now);
    },
    actual: (scene, { event }) => scene.host("POST", event, `/${step}`),
    touches: ofEvent,
  });

const checksIn = commands("check in", ticket, {
  possible: hasTickets,
  expected: (model, params) => at(model.events, params.event).checkIn(modelTicket(model, params)),
  actual: door("/check-in"),
  touches: ofEvent,
});

const undoesCheckIn = commands("undo check-in", ticket, {
  possible: hasTickets,
  expected: (model, params) =>
    at(model.events, params.event).undoCheckIn(modelTicket(model, params)),
  actual: door("/check-in/undo"),
  touches: ofEvent,
});

const timePasses = commands(
  "let time pass",
  fc.record({ ms: fc.constantFrom(1, HOLD_MS - 1, HOLD_MS, OFFER_MS, 10 * MINUTE_MS) }),
  {
    possible: (model, { ms }) => model.now + ms <= model.began + FURTHEST_MS,
    expected(model, { ms }) {
      model.now += ms;
      return "later";
    },
    async actual(scene, { ms }) {
      scene.world.clock.moveTo(new Date(scene.world.clock.now().getTime() + ms));
      return "later";
    },
  },
);

const sweeps = commands("sweep", fc.record({ event }), {
  expected(model, { event }) {
    at(model.events, event).sweep(model.now);
    return "swept";
  },
  async actual(scene, { event }) {
    await scene.store().expireSomeOfEvent(scene.event(event).id);
    return "swept";
  },
  touches: ofEvent,
});

const publishes = step("publish");
const postpones = step("postpone");
const callsOff = step("cancel");

/** Everything that can be done. */
export const acts = {
  ...{ books, bookTogether, confirms, cancels, waits, leaves, sweeps, timePasses, erases },
  ...{ changesCapacity, changesPrice, changesSale, publishes, postpones, callsOff },
  ...{ checksIn, undoesCheckIn },
};

/** What is done most is what people do most; what ends everything is rare. */
const anyCommand = fc.oneof(
  { arbitrary: waits.any, weight: 16 },
  { arbitrary: books.any, weight: 12 },
  { arbitrary: cancels.any, weight: 10 },
  { arbitrary: timePasses.any, weight: 8 },
  { arbitrary: bookTogether.any, weight: 6 },
  { arbitrary: confirms.any, weight: 9 },
  { arbitrary: changesCapacity.any, weight: 6 },
  { arbitrary: checksIn.any, weight: 8 },
  { arbitrary: sweeps.any, weight: 4 },
  { arbitrary: publishes.any, weight: 4 },
  { arbitrary: leaves.any, weight: 3 },
  { arbitrary: undoesCheckIn.any, weight: 6 },
  { arbitrary: changesPrice.any, weight: 2 },
  { arbitrary: changesSale.any, weight: 2 },
  { arbitrary: postpones.any, weight: 1 },
  { arbitrary: callsOff.any, weight: 1 },
  { arbitrary: erases.any, weight: 1 },
);

const eventStart: fc.Arbitrary<EventStart> = fc.record({
  capacity: fc.integer({ min: 1, max: 3 }),
  price: fc.constantFrom(0, 500),
  // One that ends while it is tried, or one that does not.
  lastsMs: fc.constantFrom(20 * MINUTE_MS, 600 * MINUTE_MS),
});

/**
 * Does sequences of acts to a world and to models of it, and shrinks a sequence after which they differ.
 *
 * @param options.runs how many sequences
 * @param options.most acts in one
 * @param options.withinMs the time that all of them may take, and the search for a smaller counter-example with them
 * @throws Error with the shrunk sequence, and with what repeats it: MODEL_SEED, MODEL_PATH, MODEL_REPLAY; or that
 *   there was no time for all
 */
export async function tryBookingModels(
  world: World,
  { runs, most, withinMs }: { runs: number; most: number; withinMs: number },
): Promise<void> {
  const { MODEL_SEED, MODEL_PATH, MODEL_REPLAY } = process.env;
  const sequences = fc.commands([anyCommand], {
    maxCommands: most,
    size: "max",
    ...(MODEL_REPLAY ? { replayPath: MODEL_REPLAY } : {}),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(eventStart, { minLength: EVENTS, maxLength: EVENTS }),
      sequences,
      async (starts, sequence) => {
        const scene = await Scene.set(world, starts);
        await fc.asyncModelRun(() => scene, sequence);
        await scene.real.audit(scene.model);
      },
    ),
    {
      numRuns: runs,
      interruptAfterTimeLimit: withinMs,
      // A few sequences that went well would not be what was asked for.
      markInterruptAsFailure: true,
      ...(MODEL_SEED ? { seed: Number(MODEL_SEED) } : {}),
      ...(MODEL_PATH ? { path: MODEL_PATH } : {}),
    },
  );
}

/**
 * Does a sequence of acts that is known to a world and to a model of it.
 *
 * @throws Error where they differ; and where an act makes no sense when its turn has come, because a sequence that
 *   has lost an act shows nothing any more
 */
export async function replay(
  world: World,
  starts: readonly EventStart[],
  sequence: readonly Command[],
): Promise<void> {
  const { model, real } = await Scene.set(world, starts);
  for (const command of sequence) {
    if (!command.check(model)) throw new Error(`By then nobody can ${command}`);
    await command.run(model, real);
  }
  await real.audit(model);
}
