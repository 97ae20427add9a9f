import type { ServiceSchema } from "moleculer";
import type { ServiceName } from "../lib/config";
import type { Kernel } from "../lib/kernel";
import apiService from "./api/api.service";
import authService from "./auth/auth.service";
import availableEventsService from "./available-events/available-events.service";
import bookingsService from "./bookings/bookings.service";
import coreService from "./core/core.service";
import eventsService from "./events/events.service";
import notificationsService from "./notifications/notifications.service";
import usersService from "./users/users.service";

/** Every service, by the name that `SERVICES` takes. */
export const services: Record<ServiceName, (kernel: Kernel) => ServiceSchema> = {
  core: coreService,
  auth: authService,
  users: usersService,
  "available-events": availableEventsService,
  events: eventsService,
  bookings: bookingsService,
  notifications: notificationsService,
  api: apiService,
};
