import type { ValueOf } from "../../lib/contract/rules";
import { type Database, violatedConstraint } from "../../lib/database";
import { newId } from "../../lib/ids";
import { fetchPage, type ListRequest } from "../../lib/list";
import { crudOf } from "../../mixins/crud";
import {
  AvailableEventNameTaken,
  AvailableEventNotFound,
  type availableEventShape,
} from "./available-events.contract";
import { defineAvailableEvent } from "./available-events.model";

type AvailableEvent = ValueOf<typeof availableEventShape>;

const FIELDS = [
  "id",
  "name",
  "category",
  "description",
  "defaultCapacity",
  "defaultDurationMinutes",
] as const;
const COLUMNS = `c.id, c.name, c.category, c.description, c.default_capacity AS "defaultCapacity",
  c.default_duration_minutes AS "defaultDurationMinutes"`;

const takenError = (error: unknown): unknown =>
  violatedConstraint(error) === "available_events_name_unique"
    ? new AvailableEventNameTaken({})
    : error;

/** The catalogue: moleculer-db's CRUD for single entries, our own list, which has cursors. */
export function availableEventsStore(database: Database) {
  const { mixin, crud } = crudOf<AvailableEvent>(
    database,
    defineAvailableEvent(database.sequelize),
    FIELDS,
  );
  const found = <T>(entry: T | undefined): T => {
    if (entry === undefined) throw new AvailableEventNotFound({});
    return entry;
  };
  const named = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: unknown) => {
      throw takenError(error);
    });

  return {
    mixin,
    create: (entry: Omit<AvailableEvent, "id">, now: Date): Promise<AvailableEvent> =>
      named(crud.create({ id: newId(), ...entry, createdAt: now, updatedAt: now })),
    update: async (
      id: string,
      changes: Partial<AvailableEvent>,
      now: Date,
    ): Promise<AvailableEvent> =>
      found(await named(crud.update(id, { ...changes, updatedAt: now }))),
    async remove(id: string): Promise<void> {
      if (!(await crud.remove(id))) throw new AvailableEventNotFound({});
    },
    find: async (id: string): Promise<AvailableEvent> => found(await crud.get(id)),

    async list({ category, ...request }: ListRequest & { category?: string }) {
      const { rows, pagination } = await fetchPage<AvailableEvent>(
        database,
        {
          select: COLUMNS,
          table: "available_events c",
          where: category === undefined ? [] : ["lower(c.category) = lower($category)"],
          bind: category === undefined ? {} : { category },
          id: "c.id",
          sorts: {
            name: { sql: "lower(c.name)", kind: "text" },
            category: { sql: "lower(c.category)", kind: "text" },
            createdAt: { sql: "c.created_at", kind: "instant" },
          },
          defaultSort: "name",
          defaultOrder: "asc",
        },
        request,
      );
      const data = rows.map(
        ({ id, name, category, description, defaultCapacity, defaultDurationMinutes }) => ({
          id,
          name,
          category,
          description,
          defaultCapacity,
          defaultDurationMinutes,
        }),
      );
      return { data, pagination };
    },
  };
}
