import { boolean, described, object, optional } from "../../lib/contract/rules";
import { type NotificationType, TYPES } from "./notifications.rules";

/** A rule for each type of notice, under its name. */
const ofEachType = <R>(rule: R) =>
  // The keys are those of the list.
  Object.fromEntries(TYPES.map((type) => [type, rule])) as Record<NotificationType, R>;

const BY_DEFAULT = {
  inApp: "On unless told otherwise. Off: not in the list, nor counted.",
  email: "On unless told otherwise.",
  sms: "Off unless told otherwise. Goes to the account's phone, where this installation sends SMS.",
  push: "On unless told otherwise. Goes to the browsers that have subscribed, where this installation sends push.",
};

const on = (channel: keyof typeof BY_DEFAULT) => described(boolean(), BY_DEFAULT[channel]);

export const preferencesShape = object(
  ofEachType(
    object(
      { inApp: on("inApp"), email: on("email"), sms: on("sms"), push: on("push") },
      "NotificationChannels",
    ),
  ),
  "NotificationPreferences",
);

export const preferenceChanges = ofEachType(
  optional(
    object({
      inApp: optional(boolean()),
      email: optional(boolean()),
      sms: optional(boolean()),
      push: optional(boolean()),
    }),
  ),
);
