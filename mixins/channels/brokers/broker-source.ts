import type { Log } from "../../../lib/contract/define";
import { nameOf, type OutboxEvent } from "../../../lib/contract/outbox-event";
import { type Source, type SourceOf, settling } from "../source";
import type { Connection } from "./connection";
import { eventOf } from "./envelope";
import type { Incoming } from "./session";

/** What comes within so short a time is handled together. */
const TOGETHER_MS = 10;
/** Of what is handled one by one the others have their share too. */
const FEWEST_AHEAD = 2;

// Whoever settles holds the rows, in one order for all: so of two consumers of one event the later sees what the
// earlier has noted. In a statement of its own, because the next one begins with what is committed by then.
const HOLD = "SELECT id FROM publications WHERE id = ANY ($ids::uuid[]) ORDER BY id FOR UPDATE";

interface Waiting {
  readonly event: OutboxEvent;
  /** More than one where it came again meanwhile. */
  readonly messages: Incoming[];
}

/** A message broker as the queue: what it has sent waits here until it is done, and only then is acknowledged. */
export const brokerSource =
  (connection: Connection, log: Log): SourceOf =>
  (consumer, wake): Source => {
    const { name, atOnce, handlers } = consumer;
    const settle = settling("publications", consumer);
    const waiting = new Map<string, Waiting>();
    let ends: (() => Promise<void>)[] = [];

    const receive = (queue: string, message: Incoming) => {
      let event: OutboxEvent;
      try {
        event = eventOf(message.body);
        if (nameOf(event) !== queue) throw new Error(`it is not of ${queue}`);
      } catch (error) {
        // It would come again for ever; nothing that was written to an outbox looks like that.
        log.error(`${name} was sent a message that is no event: ${(error as Error).message}`);
        message.acknowledge();
        return;
      }
      const known = waiting.get(event.id);
      if (known) known.messages.push(message);
      else waiting.set(event.id, { event, messages: [message] });
      wake(TOGETHER_MS);
    };

    const stopListening = connection.onSession(async (session) => {
      // Of a session that is over everything comes again.
      waiting.clear();
      const most = Math.max(atOnce, FEWEST_AHEAD);
      ends = await Promise.all(
        [...handlers.keys()].map((event) =>
          session.consume({ consumer: name, event }, most, (message) => receive(event, message)),
        ),
      );
    });

    return {
      mayHave: () => waiting.size > 0,
      async take(_query, most) {
        const events = [...waiting.values()].map(({ event }) => event).slice(0, most);
        // Two nodes that were sent the same note it in one order.
        return events.sort((one, other) => (one.id < other.id ? -1 : 1));
      },
      restMs: () => 0,
      takeAgain: async (_query, event) => event,
      async settle(query, events) {
        await query(HOLD, { ids: events.map(({ id }) => id) });
        await settle(query, events);
      },
      done(events) {
        for (const { id } of events) {
          for (const message of waiting.get(id)?.messages ?? []) message.acknowledge();
          waiting.delete(id);
        }
      },
      async stop() {
        stopListening();
        await Promise.all(ends.map((end) => end()));
        waiting.clear();
      },
    };
  };
