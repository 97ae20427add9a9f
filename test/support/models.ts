import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Model, ModelStatic, Sequelize } from "sequelize";

const SERVICES = join(__dirname, "../../services");

type Define = (sequelize: Sequelize) => ModelStatic<Model> | Record<string, ModelStatic<Model>>;

/** Defines every model that a service has on this connection; gives their tables. */
export function defineAllModels(sequelize: Sequelize): string[] {
  const files = readdirSync(SERVICES, { recursive: true, encoding: "utf8" }).filter((file) =>
    file.endsWith(".model.ts"),
  );
  for (const file of files) {
    // Found by their names, so that a new model is compared without anybody thinking of it.
    const definitions = Object.values(require(join(SERVICES, file))).filter(
      (exported): exported is Define => typeof exported === "function",
    );
    if (definitions.length === 0) throw new Error(`${file} defines nothing`);
    for (const define of definitions) define(sequelize);
  }
  return Object.values(sequelize.models)
    .map((model) => String(model.getTableName()))
    .sort();
}
