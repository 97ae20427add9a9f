import { unsubscribeTokens } from "../../services/notifications/notifications.unsubscribe";
import { type TestSystem, testConfig } from "./system";

/** The token of the link in somebody's mails that ends all of them. */
export const unsubscribeToken = (
  { database }: Pick<TestSystem, "database">,
  userId: string,
): string => unsubscribeTokens(testConfig(database.url)).make({ userId, type: null });
