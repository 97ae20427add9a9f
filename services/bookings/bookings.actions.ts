import type { ServiceParts } from "../../lib/contract/implement";
import type { Contracts } from "../contracts";
import type { bookings } from "./bookings.contract";

type All = ServiceParts<Contracts, typeof bookings>["actions"];

/** Handlers of some of the service's actions, for a part of its face. */
export type BookingsActions<Names extends keyof All> = Pick<All, Names>;
