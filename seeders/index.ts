import type { Config } from "../lib/config";
import type { Step } from "../lib/steps";
import { catalogue } from "./0001-catalogue";
import { demo } from "./0002-demo";

/** What a database is filled with at start: the catalogue always, demo data where it is wanted. */
export const seedersOf = ({ seedDemo }: Pick<Config, "seedDemo">): readonly Step[] =>
  seedDemo ? [catalogue, demo] : [catalogue];

/** Every seeder there is; what is undone is looked for among them. */
export const allSeeders: readonly Step[] = [catalogue, demo];
