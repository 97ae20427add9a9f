import { type NotificationType, TYPES } from "./notifications.rules";

/** The ways on which a person hears of a notice: in the product itself, and out of it. */
export const CHANNELS = ["inApp", "email", "sms", "push"] as const;
export type Channel = (typeof CHANNELS)[number];

/** Those that lead out of the system. */
export const OUTWARD = ["email", "sms", "push"] as const;
export type OutwardChannel = (typeof OUTWARD)[number];

/** What becomes of a message: `dropped` where whom it was for does not want it any more, or it is out of date. */
export const DELIVERY_STATUSES = ["pending", "sent", "failed", "refused", "dropped"] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

/** What whoever has said nothing gets. Messages to a phone cost money, and come at night: nobody has them unasked. */
export const WANTED_BY_DEFAULT: Readonly<Record<Channel, boolean>> = {
  inApp: true,
  email: true,
  sms: false,
  push: true,
};

export type Preferences = Record<NotificationType, Record<Channel, boolean>>;
export type PreferenceChanges = Partial<
  Record<NotificationType, Partial<Record<Channel, boolean>>>
>;

/** One thing that somebody wants, or does not. */
export interface Preference {
  type: NotificationType;
  channel: Channel;
  enabled: boolean;
}

/** The whole of what somebody wants, of what they want otherwise than it is by default. */
export function preferencesFrom(deviations: readonly Preference[]): Preferences {
  // The keys are those of the list.
  const whole = Object.fromEntries(
    TYPES.map((type) => [type, { ...WANTED_BY_DEFAULT }]),
  ) as Preferences;
  for (const { type, channel, enabled } of deviations) whole[type][channel] = enabled;
  return whole;
}

/** Changes one by one. */
export const preferencesIn = (changes: PreferenceChanges): Preference[] =>
  TYPES.flatMap((type) =>
    CHANNELS.flatMap((channel) => {
      const enabled = changes[type]?.[channel];
      return enabled === undefined ? [] : [{ type, channel, enabled }];
    }),
  );
