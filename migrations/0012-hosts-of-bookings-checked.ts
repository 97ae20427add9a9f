import type { Step } from "../lib/steps";
import { LOCK, REFER_TO_BOTH } from "./0011-hosts-of-bookings";

export const hostsOfBookingsChecked: Step = {
  name: "0012-hosts-of-bookings-checked",
  up: ["ALTER TABLE bookings VALIDATE CONSTRAINT bookings_event_with_host_fkey"],
  down: [
    LOCK,
    `ALTER TABLE bookings DROP CONSTRAINT bookings_event_with_host_fkey, ${REFER_TO_BOTH}`,
  ],
};
