import type { ObjectOf } from "../../lib/contract/rules";
import type { Bind } from "../../lib/database";
import { type FieldError, ValidationFailed } from "../../lib/errors";
import type { filters } from "./events.validations";

export type EventFilters = ObjectOf<typeof filters> & {
  q?: string;
  viewerId?: string;
  viewerIsAdmin?: boolean;
};

const DEFAULT_RADIUS_KM = 50;
const KM_PER_DEGREE = 111.195;
/** Of a search's matches so many are looked at. */
const MOST_MATCHES = 20_000;
const EARTH_RADIUS_KM = 6371.0088;

/**
 * Events that are not over: the few that run now, and those to come. In two parts, because no one index gives
 * them in order: by start, a list would first walk everything that has ever been. OFFSET 0 keeps the planner
 * from walking all of it for the few that run now.
 */
const NOT_OVER = [
  `(SELECT * FROM events
     WHERE deleted_at IS NULL AND tstzrange(start_date_time, end_date_time) @> $now::timestamptz OFFSET 0) e`,
  "(SELECT * FROM events WHERE start_date_time > $now::timestamptz) e",
];

const radians = (degrees: number) => (degrees * Math.PI) / 180;

/** Boxes of degrees that hold a circle on the globe; two where it crosses the date line. */
function boxesAround(lat: number, lng: number, radiusKm: number) {
  const deltaLat = radiusKm / KM_PER_DEGREE;
  const south = Math.max(-90, lat - deltaLat);
  const north = Math.min(90, lat + deltaLat);
  // Where the circle holds a pole, it holds every longitude.
  const sine = Math.sin(radiusKm / EARTH_RADIUS_KM) / Math.cos(radians(lat));
  const holdsPole = south === -90 || north === 90 || !(sine < 1);
  const deltaLng = holdsPole ? 180 : (Math.asin(sine) * 180) / Math.PI + 1e-6;
  const [west, east] = [lng - deltaLng, lng + deltaLng];
  if (deltaLng >= 180) return [{ south, north, west: -180, east: 180 }];
  if (west < -180)
    return [
      { south, north, west: -180, east },
      { south, north, west: west + 360, east: 180 },
    ];
  if (east > 180)
    return [
      { south, north, west, east: 180 },
      { south, north, west: -180, east: east - 360 },
    ];
  return [{ south, north, west, east }];
}

function checkFilters(filters: EventFilters): void {
  const errors: FieldError[] = [];
  const { from, to, minPrice, maxPrice, near, radiusKm } = filters;
  if (from && to && to < from) errors.push({ field: "to", message: "must not come before from" });
  if (minPrice !== undefined && maxPrice !== undefined && maxPrice < minPrice) {
    errors.push({ field: "maxPrice", message: "must not be less than minPrice" });
  }
  if (radiusKm !== undefined && !near) errors.push({ field: "radiusKm", message: "needs near" });
  if (errors.length) throw new ValidationFailed({ errors });
}

/**
 * Filters as conditions on `events e`. What nobody asked for in
 * particular is not over and published or postponed; drafts are for their host and administrators.
 *
 * @throws ValidationFailed for filters that contradict each other
 */
export function conditionsOf(
  filters: EventFilters,
  now: Date,
): { where: string[]; bind: Bind; among?: string[] } {
  checkFilters(filters);
  const where = ["e.deleted_at IS NULL"];
  const bind: Bind = {};
  const add = (condition: string, values: Bind = {}) => {
    where.push(condition);
    Object.assign(bind, values);
  };
  const { from, to, status, hostId, availableEventId, category, tag, minPrice, maxPrice } = filters;

  if (status === "completed") add("e.status = 'published' AND e.end_date_time <= $now", { now });
  else if (status === "published")
    add("e.status = 'published' AND e.end_date_time > $now", { now });
  else if (status) add("e.status = $status", { status });
  else add("e.status IN ('published', 'postponed')");
  if (status === "draft" && !filters.viewerIsAdmin) {
    add("e.host_id = $viewerId::uuid", { viewerId: filters.viewerId ?? null });
  }
  const onlyAhead = !status && !from;
  if (onlyAhead) Object.assign(bind, { now });

  if (from) add("e.start_date_time >= $from", { from });
  if (to) add("e.start_date_time <= $to", { to });
  if (hostId) add("e.host_id = $hostId", { hostId });
  if (availableEventId) add("e.available_event_id = $availableEventId", { availableEventId });
  if (category) {
    add(
      `e.available_event_id = ANY (ARRAY(
         SELECT id FROM available_events WHERE lower(category) = lower($category)))`,
      { category },
    );
  }
  if (tag) add("lower_tags(e.tags) @> ARRAY[lower($tag)]", { tag });
  if (filters.available) add("e.number_of_attendees < e.capacity");
  if (minPrice !== undefined) add("e.price >= $minPrice", { minPrice });
  if (maxPrice !== undefined) add("e.price <= $maxPrice", { maxPrice });
  if (filters.near) addNear(add, filters.near, filters.radiusKm ?? DEFAULT_RADIUS_KM);
  if (filters.q) {
    // The matches first and no more than anybody reads: else a rare word makes the list walk every event
    // by date, and a common one makes the search rank them all.
    add(
      `e.id IN (WITH hit AS MATERIALIZED (
         SELECT m.id FROM events m WHERE m.search @@ search_query($q) LIMIT ${MOST_MATCHES})
         SELECT id FROM hit)`,
      { q: filters.q },
    );
  }
  return { where, bind, ...(onlyAhead ? { among: NOT_OVER } : {}) };
}

function addNear(
  add: (condition: string, values: Bind) => void,
  { lat, lng }: { lat: number; lng: number },
  radiusKm: number,
): void {
  const boxes = boxesAround(lat, lng, radiusKm);
  const inBox = boxes.map(
    (_, i) =>
      `point(e.longitude, e.latitude) <@ box(point($west${i}, $south${i}), point($east${i}, $north${i}))`,
  );
  const corners = boxes.flatMap((box, i) =>
    Object.entries(box).map(([side, degrees]) => [`${side}${i}`, degrees] as const),
  );
  add(`(${inBox.join(" OR ")})`, Object.fromEntries(corners));
  // The haversine formula; least() because rounding may pass 1 at the far side of the earth.
  add(
    `2 * ${EARTH_RADIUS_KM} * asin(least(1, sqrt(
       power(sin(radians(e.latitude - $lat::float8) / 2), 2) +
       cos(radians($lat::float8)) * cos(radians(e.latitude)) *
       power(sin(radians(e.longitude - $lng::float8) / 2), 2)))) <= $radiusKm::float8`,
    { lat, lng, radiusKm },
  );
}
