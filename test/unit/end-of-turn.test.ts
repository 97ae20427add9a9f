import { endOfTurn } from "../../lib/end-of-turn";

test("everybody who asks in one turn goes on together, when the turn is over", async () => {
  const said: string[] = [];
  const waits = (name: string) => endOfTurn().then(() => said.push(name));
  const both = [waits("first"), Promise.resolve().then(() => waits("second"))];
  setImmediate(() => said.push("the next turn's"));
  expect(said).toEqual([]);
  await Promise.all(both);
  expect(said.slice(0, 2)).toEqual(["first", "second"]);
});

test("whoever asks later waits for the end of a later turn", async () => {
  await endOfTurn();
  const said: string[] = [];
  const waiting = endOfTurn().then(() => said.push("later"));
  await Promise.resolve();
  expect(said).toEqual([]);
  await waiting;
  expect(said).toEqual(["later"]);
});
