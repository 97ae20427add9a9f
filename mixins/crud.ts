import type { Service, ServiceBroker, ServiceSchema, ServiceSettingSchema } from "moleculer";
import DbService from "moleculer-db";
import SequelizeDbAdapter from "moleculer-db-adapter-sequelize";
import type { Model, ModelStatic } from "sequelize";
import type { Database } from "../lib/database";

/** Plain create, read, update and delete of one table, by id. */
export interface Crud<Entity extends { id: string }> {
  create(entity: Record<string, unknown> & { id: string }): Promise<Entity>;
  /** Undefined where there is no such row. */
  get(id: string): Promise<Entity | undefined>;
  /** Undefined where there is no such row. */
  update(id: string, changes: Record<string, unknown>): Promise<Entity | undefined>;
  /** False where there was no such row. */
  remove(id: string): Promise<boolean>;
}

/** The methods of moleculer-db that serve us; its actions take any column and no transaction, so they stay off. */
interface DbMethods {
  _create(ctx: null, entity: object): Promise<unknown>;
  _get(ctx: null, params: { id: string }): Promise<unknown>;
  _update(ctx: null, params: object): Promise<unknown>;
  _remove(ctx: null, params: { id: string }): Promise<unknown>;
}

const ACTIONS_OFF = Object.fromEntries(
  ["find", "count", "list", "create", "insert", "get", "update", "remove"].map((name) => [
    name,
    false,
  ]),
);

/** Uses the pool of the process: neither opens one, nor closes it, nor makes tables. */
class SharedPoolAdapter extends SequelizeDbAdapter {
  // Fields of the base class that its types leave out.
  declare broker: ServiceBroker;
  declare service: Service;
  declare model: ModelStatic<Model>;
  constructor(private readonly table: ModelStatic<Model>) {
    super("");
  }
  override init(broker: ServiceBroker, service: Service): void {
    this.broker = broker;
    this.service = service;
  }
  override async connect(): Promise<void> {
    this.model = this.table;
  }
  override async disconnect(): Promise<void> {}
}

/** moleculer-db gives this error of its own neither a type nor an entry in its index. */
const isMissing = (error: unknown) =>
  error instanceof Error && error.name === "EntityNotFoundError";

/**
 * moleculer-db's CRUD over a model, behind a typed face. The service that uses it takes `mixin` and calls
 * `crud` from handlers that check their parameters.
 *
 * @param fields the attributes that come back; others never leave the database
 */
export function crudOf<Entity extends { id: string }>(
  database: Database,
  model: ModelStatic<Model>,
  fields: readonly (keyof Entity & string)[],
): { mixin: Partial<ServiceSchema>; crud: Crud<Entity> } {
  let service: DbMethods | undefined;
  const methods = (): DbMethods => {
    if (!service) throw new Error("The service of this table has not been created");
    return service;
  };
  // moleculer-db gives plain objects with the fields of `settings.fields`, which are the entity's.
  const run = (work: () => Promise<unknown>) => database.guarded(work) as Promise<Entity>;
  const orUndefined = (work: () => Promise<unknown>) =>
    run(work).catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    });

  return {
    mixin: {
      // Its types do not know that it is a schema.
      mixins: [DbService as unknown as Partial<ServiceSchema>],
      // Settings of moleculer-db, unknown to Moleculer's own type.
      settings: { idField: "id", fields: [...fields] } as ServiceSettingSchema,
      actions: ACTIONS_OFF,
      created(this: Service & { adapter?: SharedPoolAdapter }) {
        // Not in the schema, because Moleculer would clone it there, pool and all.
        this.adapter = new SharedPoolAdapter(model);
        this.adapter.init(this.broker, this);
        // The mixin above has given the service these methods.
        service = this as unknown as DbMethods;
      },
    },
    crud: {
      create: (entity) => run(() => methods()._create(null, entity)),
      get: (id) => orUndefined(() => methods()._get(null, { id })),
      update: (id, changes) => orUndefined(() => methods()._update(null, { id, ...changes })),
      remove: async (id) =>
        (await orUndefined(() => methods()._remove(null, { id }))) !== undefined,
    },
  };
}
