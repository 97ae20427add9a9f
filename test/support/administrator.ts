import { type Api, Person } from "./people";

const EMAIL = "admin@example.org";
const PASSWORD = "correct horse 1";

/** The environment of a system whose first start makes an administrator. */
export const WITH_ADMINISTRATOR = { ADMIN_EMAIL: EMAIL, ADMIN_PASSWORD: PASSWORD };

/** Signs in the administrator of a system that was started {@link WITH_ADMINISTRATOR}. */
export async function administrator(api: Api): Promise<Person> {
  const { body } = await api.request("POST", "/auth/login", {
    body: { email: EMAIL, password: PASSWORD },
  });
  const who = { id: body.user.id, name: body.user.name, email: EMAIL, password: PASSWORD };
  return new Person(api, who, body.token, body.refreshToken);
}
