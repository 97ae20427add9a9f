import type { ServiceParts } from "../../lib/contract/implement";
import type { Contracts } from "../contracts";
import type { notifications } from "./notifications.contract";

type All = ServiceParts<Contracts, typeof notifications>["actions"];

/** Handlers of some of the service's actions, for a part of its face. */
export type NotificationsActions<Names extends keyof All> = Pick<All, Names>;
