import { type Database, type Transaction, violatedConstraint } from "../../lib/database";
import { type FieldError, ValidationFailed } from "../../lib/errors";
import { newId } from "../../lib/ids";
import { fetchPage, type ListRequest, type ListSource } from "../../lib/list";
import { removeInChunks } from "../../lib/remove-in-chunks";
import { whyAbsent } from "../../mixins/held-users";
import { writeOutbox } from "../../mixins/outbox";
import type { Told } from "./events.announcements";
import { EventNotFound } from "./events.contract";
import { conditionsOf, type EventFilters } from "./events.filters";
import { defineEvent } from "./events.model";
import {
  type Event,
  type EventChanges,
  type EventWithin,
  type SaleMove,
  type StatusChange,
  saleMove,
  statusAt,
} from "./events.rules";
import type { EventStatus } from "./events.validations";

interface EventRow {
  id: string;
  title: string;
  description: string | null;
  location: string | null;
  latitude: number | null;
  longitude: number | null;
  startDateTime: Date;
  endDateTime: Date;
  timeZone: string;
  hostId: string;
  hostName: string;
  availableEventId: string | null;
  capacity: number;
  numberOfAttendees: number;
  price: number;
  currency: string | null;
  tags: string[];
  status: EventStatus;
  saleStartsAt: Date | null;
  saleEndsAt: Date | null;
  attachmentUrl: string | null;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

const COLUMNS = `e.id, e.title, e.description, e.location, e.latitude, e.longitude,
  e.start_date_time AS "startDateTime", e.end_date_time AS "endDateTime", e.time_zone AS "timeZone",
  e.host_id AS "hostId", h.name AS "hostName", e.available_event_id AS "availableEventId", e.capacity,
  e.number_of_attendees AS "numberOfAttendees", e.price, e.currency, e.tags, e.status,
  e.sale_starts_at AS "saleStartsAt", e.sale_ends_at AS "saleEndsAt",
  e.attachment_url AS "attachmentUrl", e.version, e.created_at AS "createdAt", e.updated_at AS "updatedAt"`;

type LiveRow = Pick<
  EventRow,
  "id" | "hostId" | "status" | "version" | "capacity" | "numberOfAttendees" | "endDateTime"
>;
const LIVE = `e.id, e.host_id AS "hostId", e.status, e.version, e.capacity,
  e.number_of_attendees AS "numberOfAttendees", e.end_date_time AS "endDateTime"`;

/** What only this service knows of an event. */
type Within = Required<Omit<StatusChange, "status">>;
const WITHIN_COLUMNS = `e.cancelling_since AS "cancellingSince", e.cancelled_because AS "cancelledBecause"`;

// The host's name is read from the neighbour's table: a list asks for a hundred of them at once.
const JOINS = "JOIN users h ON h.id = e.host_id";

const toEvent = (row: EventRow, now: Date): Event => ({
  id: row.id,
  title: row.title,
  description: row.description,
  location: row.location,
  coordinates:
    row.latitude === null || row.longitude === null
      ? null
      : { lat: row.latitude, lng: row.longitude },
  startDateTime: row.startDateTime.toISOString(),
  endDateTime: row.endDateTime.toISOString(),
  timeZone: row.timeZone,
  hostId: row.hostId,
  host: { id: row.hostId, name: row.hostName },
  availableEventId: row.availableEventId,
  capacity: row.capacity,
  numberOfAttendees: row.numberOfAttendees,
  availableTickets: row.capacity - row.numberOfAttendees,
  price: row.price,
  currency: row.currency,
  tags: row.tags,
  status: statusAt(row.status, row.endDateTime, now),
  saleStartsAt: row.saleStartsAt?.toISOString() ?? null,
  saleEndsAt: row.saleEndsAt?.toISOString() ?? null,
  attachmentUrl: row.attachmentUrl,
  version: row.version,
  createdAt: row.createdAt.toISOString(),
  updatedAt: row.updatedAt.toISOString(),
});

/** Fields of the API as columns of the table. */
function toColumns({ coordinates, ...fields }: EventChanges): Record<string, unknown> {
  if (coordinates === undefined) return fields;
  return { ...fields, latitude: coordinates?.lat ?? null, longitude: coordinates?.lng ?? null };
}

const startsAt = { sql: "e.start_date_time", kind: "instant" } as const;
type Sorting = Pick<ListSource, "sorts" | "defaultSort" | "defaultOrder">;

const BY_TIME: Sorting = {
  sorts: {
    startDateTime: startsAt,
    date: startsAt,
    createdAt: { sql: "e.created_at", kind: "instant" },
    title: { sql: "lower(e.title)", kind: "text" },
    price: { sql: "e.price", kind: "integer" },
  },
  defaultSort: "startDateTime",
  defaultOrder: "asc",
};

/**
 * By the weight of the words found (title, then tags, place, description). The rank becomes a whole number,
 * so that a cursor can name it exactly.
 */
const BY_RELEVANCE: Sorting = {
  sorts: {
    relevance: {
      sql: "(ts_rank(e.search, search_query($q)) * 1000000)::bigint",
      kind: "integer",
    },
  },
  defaultSort: "relevance",
  defaultOrder: "desc",
};

type EventsRequest = ListRequest & EventFilters;

export const NOT_IN_CATALOGUE: FieldError = {
  field: "availableEventId",
  message: "is not in the catalogue",
};

/** The catalogue is a neighbour's; that an entry is gone shows as a foreign key that refuses. */
function withCatalogueFault(error: unknown): unknown {
  return violatedConstraint(error) === "events_available_event_id_fkey"
    ? new ValidationFailed({ errors: [NOT_IN_CATALOGUE] })
    : error;
}

export type NewEvent = EventChanges &
  Pick<
    Event,
    "title" | "startDateTime" | "endDateTime" | "capacity" | "timeZone" | "price" | "tags"
  > & {
    hostId: string;
    status: "draft" | "published";
  };

/**
 * Who waits for the start of a sale is told of it once each time that one begins: a row stands from when it is to come
 * until it has been told (events.moments.ts). It is kept in the transaction of the change, under the event's lock.
 */
const FORGET_SALE = "DELETE FROM awaited_sales WHERE event_id = $id";
const KEEP_SALE: Readonly<Record<Exclude<SaleMove, "none">, string>> = {
  toCome: `INSERT INTO awaited_sales (event_id, opens_at) SELECT id, sale_starts_at FROM events WHERE id = $id
           ON CONFLICT (event_id) DO UPDATE SET opens_at = excluded.opens_at`,
  // Of one that nobody waits for, because it has been told, there is nothing more to tell.
  begun: "UPDATE awaited_sales SET opens_at = '-infinity' WHERE event_id = $id",
  neverAgain: FORGET_SALE,
};

const FORGET_INTEREST = `
  DELETE FROM interests WHERE event_id = $id AND user_id IN (
    SELECT user_id FROM interests WHERE event_id = $id LIMIT $chunk FOR UPDATE SKIP LOCKED)
  RETURNING 1`;
const NEVER = new AbortController().signal;

export type EventsStore = ReturnType<typeof eventsStore>;

export function eventsStore(database: Database) {
  const events = defineEvent(database.sequelize);

  const rowOf = async (id: string, transaction?: Transaction): Promise<EventRow & Within> => {
    // FOR UPDATE OF e: the event's row is the first lock of every transaction that changes an event or its
    // seats; all who change it queue here, and what is read is what will be changed.
    const [row] = await database.query<EventRow & Within>(
      `SELECT ${COLUMNS}, ${WITHIN_COLUMNS} FROM events e ${JOINS} WHERE e.id = $id AND e.deleted_at IS NULL
       ${transaction ? "FOR UPDATE OF e" : ""}`,
      { id },
      transaction,
    );
    if (!row) throw new EventNotFound({});
    return row;
  };
  const read = async (id: string, now: Date, transaction?: Transaction): Promise<Event> =>
    toEvent(await rowOf(id, transaction), now);

  const write = (told: Told, transaction: Transaction): Promise<void> =>
    writeOutbox((sql, bind) => database.query(sql, bind, transaction), told);

  const keepSale = async (move: SaleMove, id: string, transaction: Transaction): Promise<void> => {
    if (move !== "none") await database.query(KEEP_SALE[move], { id }, transaction);
  };

  const page = async (request: EventsRequest, now: Date, sorting: Sorting) => {
    const { where, bind, among } = conditionsOf(request, now);
    const { rows, pagination } = await fetchPage<EventRow>(
      database,
      {
        select: COLUMNS,
        table: "events e",
        among,
        joins: JOINS,
        where,
        bind,
        id: "e.id",
        ...sorting,
      },
      request,
    );
    return { data: rows.map((row) => toEvent(row, now)), pagination };
  };

  return {
    /**
     * @param tell what is told of it, in the same transaction
     * @throws ValidationFailed for an entry that the catalogue lacks; Unauthenticated when the host was
     *   deleted meanwhile
     */
    async create(
      event: NewEvent,
      now: Date,
      transaction: Transaction,
      tell: (event: Event) => Told,
    ): Promise<Event> {
      // For the lock see mixins/held-users.ts.
      const hosts = await database.query(
        "SELECT 1 FROM users WHERE id = $hostId AND deleted_at IS NULL FOR KEY SHARE SKIP LOCKED",
        { hostId: event.hostId },
        transaction,
      );
      if (hosts.length === 0) {
        throw await whyAbsent((sql, bind) => database.query(sql, bind, transaction), event.hostId);
      }
      const id = newId();
      try {
        const row = { id, ...toColumns(event), createdAt: now, updatedAt: now };
        await database.guarded(() => events.create(row, { transaction }));
      } catch (error) {
        throw withCatalogueFault(error);
      }
      const made = await read(id, now, transaction);
      await keepSale(saleMove(null, made, now), id, transaction);
      await write(tell(made), transaction);
      return made;
    },

    /** What is told, in the caller's transaction. */
    tell: write,

    /** Those of these events that are there, in any order. */
    async findEach(ids: readonly string[], now: Date, transaction: Transaction): Promise<Event[]> {
      const rows = await database.query<EventRow>(
        `SELECT ${COLUMNS} FROM events e ${JOINS} WHERE e.id = ANY ($ids::uuid[]) AND e.deleted_at IS NULL`,
        { ids },
        transaction,
      );
      return rows.map((row) => toEvent(row, now));
    },

    /** @throws EventNotFound */
    find: (id: string, now: Date): Promise<Event> => read(id, now),

    /**
     * Changes an event under its row's lock. `decide` sees it as it is and gives the columns to set, or
     * null to leave it as it is; what it throws leaves everything as it was.
     *
     * @param tell what is told of the change, in the same transaction; nothing where there was none
     * @param until when it must have been done, by `performance.now()`
     * @throws EventNotFound, ValidationFailed for an entry that the catalogue lacks
     */
    async change(
      id: string,
      now: Date,
      decide: (event: EventWithin) => (EventChanges & StatusChange) | null,
      tell: (before: Event, after: Event) => Told,
      until?: number,
    ): Promise<{ before: Event; after: Event }> {
      try {
        return await database.transaction(
          async (transaction, lock) => {
            const row = await lock(() => rowOf(id, transaction));
            const before = toEvent(row, now);
            const { cancellingSince, cancelledBecause } = row;
            const changes = decide({ ...before, cancellingSince, cancelledBecause });
            if (changes === null) return { before, after: before };
            await events.update(
              { ...toColumns(changes), version: before.version + 1, updatedAt: now },
              { where: { id }, transaction },
            );
            const after = await read(id, now, transaction);
            await keepSale(saleMove(before, after, now), id, transaction);
            await write(tell(before, after), transaction);
            return { before, after };
          },
          { lane: id, ...(until === undefined ? {} : { until }) },
        );
      } catch (error) {
        throw withCatalogueFault(error);
      }
    },

    /**
     * Takes an event away that nobody can have booked, in one step; `decide` sees it under its row's lock.
     *
     * @returns whether it was decided and done
     * @throws EventNotFound
     */
    removeIf(id: string, now: Date, decide: (event: Event) => boolean): Promise<boolean> {
      return database.transaction(
        async (transaction, lock) => {
          const wanted = decide(await lock(() => read(id, now, transaction)));
          if (wanted) await events.destroy({ where: { id }, transaction });
          return wanted;
        },
        { lane: id },
      );
    },

    /**
     * Takes an event away: the row goes where no booking hangs on it, else it stays for their owners. False
     * when it was gone already.
     *
     * @param told in the same transaction, by whoever takes it away
     */
    async remove(id: string, now: Date, told: Told): Promise<boolean> {
      const isRemoved = await database.transaction(
        async (transaction, lock) => {
          const removed = await lock(() =>
            database.query(
              "UPDATE events SET deleted_at = $now WHERE id = $id AND deleted_at IS NULL RETURNING 1",
              { id, now },
              transaction,
            ),
          );
          if (removed.length === 0) return false;
          await database.query(FORGET_SALE, { id }, transaction);
          await write(told, transaction);
          return true;
        },
        { lane: id },
      );
      if (!isRemoved) return false;
      // Nobody needs them any more, and there may be very many: not with the event's row locked.
      await removeInChunks(database, { sql: FORGET_INTEREST, bind: { id } }, NEVER);
      try {
        await database.query("DELETE FROM events WHERE id = $id", { id });
      } catch (error) {
        if (violatedConstraint(error) === undefined) throw error;
      }
      return true;
    },

    /** How these events stand, and those of these hosts that are known to others and not over. */
    async liveStates(ids: readonly string[], hostIds: readonly string[], now: Date) {
      const rows = await database.query<LiveRow>(
        `SELECT ${LIVE} FROM events e WHERE e.id = ANY ($ids::uuid[]) AND e.deleted_at IS NULL
         UNION
         SELECT ${LIVE} FROM events e
          WHERE e.host_id = ANY ($hostIds::uuid[]) AND e.deleted_at IS NULL AND e.status <> 'draft'
            AND (e.end_date_time > $now::timestamptz OR e.status = 'postponed')`,
        { ids, hostIds, now },
      );
      return rows.map(({ endDateTime, ...row }) => ({
        ...row,
        status: statusAt(row.status, endDateTime, now),
      }));
    },

    /** Ids of a host's events that are not deleted, a chunk at a time. */
    async idsOfHost(hostId: string): Promise<string[]> {
      const rows = await database.query<{ id: string }>(
        "SELECT id FROM events WHERE host_id = $hostId AND deleted_at IS NULL ORDER BY id LIMIT 500",
        { hostId },
      );
      return rows.map(({ id }) => id);
    },

    list: (request: EventsRequest, now: Date) => page(request, now, BY_TIME),

    /** Best match first; without words it is a list. */
    search(request: EventsRequest, now: Date) {
      if (request.q) return page(request, now, BY_RELEVANCE);
      const { sort: _relevance, ...byTime } = request;
      return page(byTime, now, BY_TIME);
    },
  };
}
