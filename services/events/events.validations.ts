import {
  described,
  id,
  instant,
  integer,
  list,
  nullable,
  number,
  object,
  oneOf,
  optional,
  queryBoolean,
  queryInteger,
  queryNumber,
  queryPoint,
  text,
  withDefault,
} from "../../lib/contract/rules";
import { listParams } from "../../lib/list";
import { canonicalTimeZone } from "./events.time-zones";

export const STATUSES = ["draft", "published", "postponed", "cancelled", "completed"] as const;
export type EventStatus = (typeof STATUSES)[number];

const MAX_CAPACITY = 1_000_000;
const MAX_PRICE = 100_000_000;
/** Half the way around the earth: everything is nearer. */
const MAX_RADIUS_KM = 20_038;

const TIME_ZONE_HINT = "must be a time zone's name (IANA), e.g. Europe/Vienna";
const CURRENCIES = new Set(Intl.supportedValuesOf("currency"));

export const title = text({ minLength: 1, maxLength: 200 });
export const description = text({ maxLength: 10_000, multiline: true });
export const location = text({ maxLength: 300 });
export const reason = text({ maxLength: 500, multiline: true });
export const capacity = integer({ min: 1, max: MAX_CAPACITY });
export const price = described(
  integer({ min: 0, max: MAX_PRICE }),
  "In the currency's minor unit: 2500 is 25.00 USD.",
);
export const currency = text({
  maxLength: 3,
  pattern: /^[A-Z]{3}$/,
  hint: "must be a currency's three letters (ISO 4217)",
  also: (value) => (CURRENCIES.has(value) ? undefined : "is not a currency of ISO 4217"),
});
export const timeZone = text({
  minLength: 1,
  maxLength: 64,
  // Offsets such as +02:00 are no zones: they do not know summer time.
  pattern: /^[A-Za-z]/,
  hint: TIME_ZONE_HINT,
  also: (value) => (canonicalTimeZone(value) ? undefined : TIME_ZONE_HINT),
  normalize: (value) => canonicalTimeZone(value) ?? value,
});
const tag = text({ minLength: 1, maxLength: 40 });
export const tags = described(
  list(tag, { max: 20 }),
  "Of tags that differ by case alone the first one stays.",
);
export const coordinates = object(
  { lat: number({ min: -90, max: 90 }), lng: number({ min: -180, max: 180 }) },
  "Coordinates",
);

/** What a host may set when an event is made. */
export const newEvent = {
  title,
  startDateTime: instant(),
  endDateTime: instant(),
  capacity,
  description: optional(nullable(description)),
  location: optional(nullable(location)),
  coordinates: optional(nullable(coordinates)),
  timeZone: withDefault(timeZone, "UTC"),
  availableEventId: optional(nullable(id())),
  price: withDefault(price, 0),
  currency: optional(nullable(currency)),
  tags: withDefault(tags, []),
  saleStartsAt: optional(nullable(instant())),
  saleEndsAt: optional(nullable(instant())),
};

/** What a host may change later; null clears. */
export const eventChanges = {
  title: optional(title),
  startDateTime: optional(instant()),
  endDateTime: described(
    optional(instant()),
    "May lie in the past once the event has begun: it is over then, and does not change any more.",
  ),
  capacity: optional(capacity),
  description: newEvent.description,
  location: newEvent.location,
  coordinates: newEvent.coordinates,
  timeZone: optional(timeZone),
  availableEventId: newEvent.availableEventId,
  price: optional(price),
  currency: newEvent.currency,
  tags: optional(tags),
  saleStartsAt: newEvent.saleStartsAt,
  saleEndsAt: newEvent.saleEndsAt,
};

/** What may be named as changed: what a host sets, and the status. `Object.keys` knows no more than strings. */
export const CHANGEABLE = [
  "status",
  ...(Object.keys(eventChanges) as (keyof typeof eventChanges)[]),
] as const;

export const filters = {
  category: described(
    optional(text({ minLength: 1, maxLength: 50 })),
    "Category of the event's type in the catalogue, without case.",
  ),
  hostId: optional(id()),
  from: described(
    optional(instant()),
    "Events that start at this time or later, those that are over included.",
  ),
  to: described(optional(instant()), "Events that start at this time or earlier."),
  tag: described(optional(tag), "Without case."),
  status: optional(oneOf(STATUSES)),
  availableEventId: optional(id()),
  available: described(optional(queryBoolean()), "true: only events with a free seat."),
  near: described(optional(queryPoint()), "lat,lng: events within radiusKm of there."),
  radiusKm: described(
    optional(queryNumber({ min: 0, max: MAX_RADIUS_KM })),
    "With near; 50 unless told.",
  ),
  minPrice: optional(queryInteger({ min: 0, max: MAX_PRICE })),
  maxPrice: optional(queryInteger({ min: 0, max: MAX_PRICE })),
};

export const searchWords = text({ maxLength: 200 });

export const listOptions = {
  ...listParams(["startDateTime", "date", "createdAt", "title", "price"]),
  ...filters,
  q: described(optional(searchWords), "Words in title, tags, place or description."),
};

export const searchOptions = {
  ...listParams(["relevance"]),
  ...filters,
  q: described(withDefault(searchWords, ""), "Words in title, tags, place or description."),
};
