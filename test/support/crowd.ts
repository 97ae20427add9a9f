import type { Role } from "../../lib/contract/define";
import { newId } from "../../lib/ids";
import type { System } from "../../system";
import type { TestDatabase } from "./database";
import { type Api, Person } from "./people";

/** A database, and brokers of which the first can sign tokens. */
export interface CrowdedSystem {
  readonly database: Pick<TestDatabase, "query">;
  readonly systems: readonly Pick<System, "broker">[];
}

/**
 * Many people at once, with sessions and tokens: their rows are written straight into the database, because
 * to register each would take longer than what they are needed for. They have no password that fits.
 */
export async function crowd(
  { database, systems }: CrowdedSystem,
  api: Api,
  size: number,
  role: Role = "attendee",
): Promise<Person[]> {
  // Where every service has a broker of its own, the first one runs core; else there is only one.
  const broker = systems[0]?.broker;
  if (!broker) throw new Error("The system has no broker");
  const people = Array.from({ length: size }, (_, i) => ({
    id: newId(),
    sessionId: newId(),
    name: `${role} ${i + 1}`,
  }));
  const ids = people.map(({ id }) => id);
  await database.query(
    `INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
     SELECT id, name, id || '@example.org', $3, 'none', now(), now()
       FROM unnest($1::uuid[], $2::text[]) AS made (id, name)`,
    [ids, people.map(({ name }) => name), role],
  );
  await database.query(
    `INSERT INTO sessions (id, user_id, created_at, expires_at)
     SELECT id, user_id, now(), now() + interval '1 day'
       FROM unnest($1::uuid[], $2::uuid[]) AS made (id, user_id)`,
    [people.map(({ sessionId }) => sessionId), ids],
  );
  return Promise.all(
    people.map(async ({ id, sessionId, name }) => {
      const claims = { id, role, sessionId };
      const { token } = await broker.call<{ token: string }, object>("core.$signJwt", { claims });
      const who = { id, name, email: `${id}@example.org`, password: "" };
      return new Person(api, who, token, "");
    }),
  );
}
