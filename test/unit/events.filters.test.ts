import fc from "fast-check";
import { newId } from "../../lib/ids";
import { conditionsOf, type EventFilters } from "../../services/events/events.filters";
import { STATUSES } from "../../services/events/events.validations";
import { faultsOf } from "../support/guarded";

const NOW = new Date("2030-06-15T12:00:00.000Z");
const EARTH_RADIUS_KM = 6371.0088;
const HALF_WAY_ROUND_KM = Math.PI * EARTH_RADIUS_KM;

interface Place {
  lat: number;
  lng: number;
}
interface Box {
  south: number;
  north: number;
  west: number;
  east: number;
}

/** The boxes in which the database looks for places near another. */
function boxesOf(near: Place, radiusKm: number): Box[] {
  const { bind, where } = conditionsOf({ near, radiusKm }, NOW);
  const side = (name: string, i: number) => Number(bind[`${name}${i}`]);
  const boxes = [0, 1]
    .filter((i) => `west${i}` in bind)
    .map((i) => ({
      south: side("south", i),
      north: side("north", i),
      west: side("west", i),
      east: side("east", i),
    }));
  expect(where.join().match(/<@ box/g)).toHaveLength(boxes.length);
  return boxes;
}

const holds = ({ south, north, west, east }: Box, { lat, lng }: Place) =>
  lat >= south && lat <= north && lng >= west && lng <= east;

const radians = (degrees: number) => (degrees * Math.PI) / 180;
const degrees = (angle: number) => (angle * 180) / Math.PI;

/** The distance on the globe; the haversine formula. */
function distanceKm(a: Place, b: Place): number {
  const [dLat, dLng] = [radians(b.lat - a.lat) / 2, radians(b.lng - a.lng) / 2];
  const chord =
    Math.sin(dLat) ** 2 + Math.cos(radians(a.lat)) * Math.cos(radians(b.lat)) * Math.sin(dLng) ** 2;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(chord)));
}

/** Where one arrives after so many kilometres in a direction. */
function travelled({ lat, lng }: Place, bearing: number, km: number): Place {
  const [phi, delta] = [radians(lat), km / EARTH_RADIUS_KM];
  const sine =
    Math.sin(phi) * Math.cos(delta) + Math.cos(phi) * Math.sin(delta) * Math.cos(bearing);
  const phi2 = Math.asin(Math.max(-1, Math.min(1, sine)));
  const turn = Math.atan2(
    Math.sin(bearing) * Math.sin(delta) * Math.cos(phi),
    Math.cos(delta) - Math.sin(phi) * Math.sin(phi2),
  );
  const east = lng + degrees(turn);
  return { lat: degrees(phi2), lng: ((((east + 180) % 360) + 360) % 360) - 180 };
}

/** Evenly spread; `fc.double` is evenly spread over what a double can hold, most of which is next to zero. */
const between = (min: number, max: number) =>
  fc.integer({ min: 0, max: 1_000_000 }).map((n) => min + ((max - min) * n) / 1_000_000);
const latitude = fc.oneof(between(-90, 90), fc.constantFrom(-90, 90, 0, 89.9999, -89.9999));
const longitude = fc.oneof(between(-180, 180), fc.constantFrom(-180, 180, 0, 179.9999, -179.9999));
const place = fc.record({ lat: latitude, lng: longitude });
const radius = fc.oneof(between(0.001, HALF_WAY_ROUND_KM), between(0.001, 500), between(0.001, 1));

describe("The boxes around a place", () => {
  test("hold every point within the radius, at the poles and across the date line too", () => {
    fc.assert(
      fc.property(
        place,
        radius,
        between(0, 2 * Math.PI),
        fc.oneof(between(0, 1), between(0.99, 0.999999)),
        (centre, km, bearing, share) => {
          const point = travelled(centre, bearing, km * share);
          fc.pre(distanceKm(centre, point) <= km);
          expect(boxesOf(centre, km).some((box) => holds(box, point))).toBe(true);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  test("hold every point of the globe that is near enough, wherever it was found", () => {
    fc.assert(
      fc.property(place, place, radius, (centre, point, km) => {
        fc.pre(distanceKm(centre, point) <= km * 0.999999);
        expect(boxesOf(centre, km).some((box) => holds(box, point))).toBe(true);
      }),
      // Shrinking would go through far too many places that are not near enough to say anything.
      { numRuns: 5_000, endOnFailure: true },
    );
  });

  test("lie on the map: degrees that exist, at most two boxes", () => {
    fc.assert(
      fc.property(place, radius, (centre, km) => {
        const boxes = boxesOf(centre, km);
        expect([1, 2]).toContain(boxes.length);
        for (const { south, north, west, east } of boxes) {
          expect(-90 <= south && south <= north && north <= 90).toBe(true);
          expect(-180 <= west && west <= east && east <= 180).toBe(true);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test.each<[string, Place, number, number]>([
    ["in the middle of the map", { lat: 48, lng: 16 }, 50, 1],
    ["west of the date line", { lat: -17, lng: 179.9 }, 50, 2],
    ["east of it", { lat: -17, lng: -179.9 }, 50, 2],
    ["on it", { lat: 0, lng: 180 }, 1, 2],
    ["at a pole", { lat: 90, lng: 0 }, 1, 1],
    ["beside a pole", { lat: -89.99, lng: 100 }, 50, 1],
    ["around the whole earth", { lat: 12, lng: 34 }, 20_038, 1],
  ])("%s", (_where, centre, km, count) => {
    expect(boxesOf(centre, km)).toHaveLength(count);
  });

  test("are no larger than they need be, or the index would be of no use", () => {
    const [box] = boxesOf({ lat: 60, lng: 10 }, 50);
    expect((box?.north ?? 0) - (box?.south ?? 0)).toBeLessThan(1);
    expect((box?.east ?? 0) - (box?.west ?? 0)).toBeLessThan(2);
  });

  test("are around 50 km unless told", () => {
    const near = { lat: 60, lng: 10 };
    expect(conditionsOf({ near }, NOW)).toEqual(conditionsOf({ near, radiusKm: 50 }, NOW));
  });
});

describe("Filters that contradict each other", () => {
  const faults = (filters: EventFilters) => {
    try {
      conditionsOf(filters, NOW);
      return [];
    } catch (error) {
      return faultsOf(error).map(({ field }) => field);
    }
  };
  const [early, late] = ["2030-01-01T00:00:00.000Z", "2030-02-01T00:00:00.000Z"];

  test.each<[EventFilters, string[]]>([
    [{ from: late, to: early }, ["to"]],
    [{ from: early, to: late }, []],
    [{ from: early, to: early }, []],
    [{ minPrice: 2, maxPrice: 1 }, ["maxPrice"]],
    [{ minPrice: 0, maxPrice: 0 }, []],
    [{ radiusKm: 5 }, ["radiusKm"]],
    [{ radiusKm: 0 }, ["radiusKm"]],
    [{ radiusKm: 0, near: { lat: 0, lng: 0 } }, []],
    [
      { from: late, to: early, minPrice: 2, maxPrice: 1, radiusKm: 5 },
      ["to", "maxPrice", "radiusKm"],
    ],
  ])("%j: %j", (filters, expected) => {
    expect(faults(filters)).toEqual(expected);
  });
});

describe("Conditions", () => {
  const everything: EventFilters = {
    category: "'; DROP TABLE events; --",
    hostId: newId(),
    from: "2030-01-01T00:00:00.000Z",
    to: "2030-02-01T00:00:00.000Z",
    tag: "%_",
    availableEventId: newId(),
    available: true,
    near: { lat: 1, lng: 2 },
    radiusKm: 3,
    minPrice: 4,
    maxPrice: 5,
    q: "jazz | !rock",
  };

  test.each(STATUSES)("have a value for every name and use every value, when %s", (status) => {
    const { where, bind } = conditionsOf({ ...everything, status, viewerId: newId() }, NOW);
    const names = new Set([...where.join(" ").matchAll(/\$(\w+)/g)].map(([, name]) => name));
    expect([...names].sort()).toEqual(Object.keys(bind).sort());
  });

  test("never hold what somebody typed", () => {
    const sql = conditionsOf(everything, NOW).where.join(" ");
    for (const typed of ["DROP", "%_", "jazz"]) expect(sql).not.toContain(typed);
  });

  test("never show what was deleted", () => {
    for (const status of [undefined, ...STATUSES]) {
      const { where } = conditionsOf(status ? { status } : {}, NOW);
      expect(where).toContain("e.deleted_at IS NULL");
    }
  });

  test("show drafts to their host, all of them to an administrator, none to nobody", () => {
    const viewerId = newId();
    const ofDrafts = (viewer: Partial<EventFilters>) =>
      conditionsOf({ status: "draft", ...viewer }, NOW);
    expect(ofDrafts({ viewerId }).where.join()).toContain("e.host_id = $viewerId");
    expect(ofDrafts({ viewerId }).bind).toMatchObject({ viewerId });
    expect(ofDrafts({ viewerId, viewerIsAdmin: true }).where.join()).not.toContain("viewerId");
    expect(ofDrafts({}).bind).toMatchObject({ viewerId: null });
  });
});
