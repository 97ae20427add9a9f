import { suspects } from "../../services/notifications/senders/push-suspects";
import { NotAsked } from "../../services/notifications/senders/sender";

const MINUTE_MS = 60_000;
let now = 0;
let known = suspects(() => now);
beforeEach(() => {
  now = 0;
  known = suspects(() => now);
});

const unanswered = new Error("No answer");
const asks = <T>(origin: string, userId: string, ask: () => Promise<T>) =>
  known.ask({ origin, userId }, ask, (error) => error === unanswered);
const fails = (origin: string, userId: string) =>
  asks(origin, userId, () => Promise.reject(unanswered)).catch((error: unknown) => error);
const answers = (origin: string, userId: string) => asks(origin, userId, async () => "taken");
/** One that waits for its answer. */
function waits(origin: string, userId: string) {
  let isAnswered = () => {};
  const asked = asks(
    origin,
    userId,
    () =>
      new Promise<string>((resolve) => {
        isAnswered = () => resolve("taken");
      }),
  );
  return { asked, isAnswered: () => isAnswered() };
}

test("Whoever answers is asked any number of things at a time", async () => {
  const waiting = Array.from({ length: 20 }, () => waits("a", "alice"));
  expect(await answers("a", "alice")).toBe("taken");
  for (const { isAnswered } of waiting) isAnswered();
  expect(await Promise.all(waiting.map(({ asked }) => asked))).toHaveLength(20);
});

test("Whoever has not answered is asked one thing at a time until they do", async () => {
  expect(await fails("a", "alice")).toBe(unanswered);
  const one = waits("a", "ben");
  await expect(answers("a", "cleo")).rejects.toMatchObject({ name: "NotAsked", afterMs: 5_000 });
  expect(await answers("b", "cleo")).toBe("taken");
  one.isAnswered();
  await one.asked;
  waits("a", "ben");
  expect(await answers("a", "cleo")).toBe("taken");
});

test("One person's browsers hold one place, however many services they name", async () => {
  expect(await fails("a", "eve")).toBe(unanswered);
  waits("b", "eve");
  await expect(answers("c", "eve")).rejects.toBeInstanceOf(NotAsked);
  expect(await answers("c", "alice")).toBe("taken");
});

test("A service that goes on being silent is left alone, longer and longer, and nobody else with it", async () => {
  for (let time = 1; time <= 3; time++) expect(await fails("a", "eve")).toBe(unanswered);
  await expect(answers("a", "alice")).rejects.toMatchObject({ afterMs: MINUTE_MS });
  expect(await answers("b", "eve")).toBe("taken");
  now += MINUTE_MS;
  expect(await fails("a", "alice")).toBe(unanswered);
  await expect(answers("a", "ben")).rejects.toMatchObject({ afterMs: 2 * MINUTE_MS });
  for (let time = 1; time <= 20; time++) {
    now += 60 * MINUTE_MS;
    await fails("a", "alice");
  }
  await expect(answers("a", "ben")).rejects.toMatchObject({ afterMs: 60 * MINUTE_MS });
  now += 60 * MINUTE_MS;
  expect(await answers("a", "ben")).toBe("taken");
  expect(await fails("a", "alice")).toBe(unanswered);
  expect(await answers("a", "ben")).toBe("taken");
});

test("A refusal is an answer", async () => {
  const refused = new Error("410");
  for (let time = 1; time <= 5; time++) {
    await expect(asks("a", "alice", () => Promise.reject(refused))).rejects.toBe(refused);
  }
  expect(await answers("a", "alice")).toBe("taken");
});
