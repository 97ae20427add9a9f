import { turnByTurn } from "../../lib/log-output";

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test("Lines of one turn are written together, in their order, and none twice", async () => {
  const written: string[] = [];
  const log = turnByTurn({ write: (text) => written.push(text) });
  log.write("a\n");
  await Promise.resolve();
  log.write("b\n");
  expect(written).toEqual([]);
  await nextTurn();
  log.write("c\n");
  await nextTurn();
  await nextTurn();
  expect(written).toEqual(["a\nb\n", "c\n"]);
});

test("What is left when the process ends is written then, and not again", async () => {
  const others = process.listeners("exit");
  const written: string[] = [];
  const log = turnByTurn({ write: (text) => written.push(text) });
  const added = process.listeners("exit").filter((listener) => !others.includes(listener));
  log.write("last words\n");
  for (const listener of added) listener(1);
  await nextTurn();
  expect(written).toEqual(["last words\n"]);
  for (const listener of added) process.removeListener("exit", listener);
});
