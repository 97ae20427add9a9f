/** The part of the service that reaches people outside of the system: what they want there, and what is sent to them. */
import type { Lifecycle } from "../../lib/contract/implement";
import type { Kernel } from "../../lib/kernel";
import type { Contracts } from "../contracts";
import type { NotificationsActions } from "./notifications.actions";
import { deliveriesStore } from "./notifications.deliveries";
import { type Delivering, deliver } from "./notifications.delivering";
import { messageOf } from "./notifications.messages";
import { notificationsPreferences } from "./notifications.preferences";
import { type Rush, rushOf } from "./notifications.rush";
import { unsubscribing } from "./notifications.unsubscribe";
import { preferencesIn } from "./preferences.rules";
import { sendersOf } from "./senders";

/** What an operator is shown unless they ask for more. */
const SHOWN = 50;

export interface Outward {
  /** What it adds to the service's face. */
  readonly actions: NotificationsActions<
    | "$listDeliveries"
    | "$retryDelivery"
    | "findPreferences"
    | "changePreferences"
    | "askToUnsubscribe"
    | "unsubscribe"
  >;
  /** Hears that so many notices are stored, which are to go out. */
  stored(count: number): void;
  /** Forgets what somebody wants, and what went to them. */
  forget(userId: string): Promise<void>;
  start(lifecycle: Lifecycle<Contracts>): void;
  stop(): Promise<void>;
}

export function outward({ config, clock, database }: Kernel): Outward {
  const senders = sendersOf(config, clock);
  const store = deliveriesStore(database);
  const preferences = notificationsPreferences(database);
  const links = unsubscribing(config, preferences);
  let delivering: Delivering | undefined;
  let rush: Rush | undefined;

  return {
    actions: {
      $listDeliveries: ({ params: { limit: most = SHOWN, ...which } }) =>
        store.list({ ...which, most }),
      async $retryDelivery({ params }) {
        const retried = await store.retry(params.id);
        delivering?.soon();
        return { retried };
      },
      findPreferences: (_ctx, caller) => preferences.find(caller.id),
      async changePreferences({ params }, caller) {
        await preferences.change(caller.id, preferencesIn(params));
        return preferences.find(caller.id);
      },
      askToUnsubscribe: async ({ params }) => links.ask(params.token),
      unsubscribe: ({ params }) => links.unsubscribe(params.token),
    },

    stored(count) {
      rush?.note(count);
      delivering?.soon();
    },

    async forget(userId) {
      const ids = await store.forgetUser(userId);
      for (const sender of senders) await sender.forget?.(ids);
      await preferences.forget(userId);
    },

    start({ call, log }) {
      rush = rushOf();
      const messages = { call, clock, publicUrl: config.publicUrl, unsubscribeUrl: links.urlOf };
      delivering = deliver({ database, store, senders, rush, log }, (outgoing) =>
        messageOf(outgoing, messages),
      );
    },

    async stop() {
      await delivering?.stop();
      rush?.stop();
    },
  };
}
