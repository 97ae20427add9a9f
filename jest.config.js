const swc = {
  jsc: { parser: { syntax: "typescript" }, target: "es2023" },
  module: { type: "commonjs" },
  sourceMaps: "inline",
};

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: "node",
  roots: ["<rootDir>/test"],
  testMatch: ["**/*.test.ts"],
  testPathIgnorePatterns: ["/node_modules/", "/test/long/"],
  // What is large, read anew for every file, and of use to none.
  moduleNameMapper: {
    "^@rushstack/ts-command-line$": "<rootDir>/test/support/stand-ins/ts-command-line",
  },
  transform: { "^.+\\.ts$": ["@swc/jest", swc] },
  globalSetup: "<rootDir>/test/support/global-setup.ts",
  globalTeardown: "<rootDir>/test/support/global-teardown.ts",
  testTimeout: 30_000,
  // Databases do most of the waiting; more workers than this fight for two processors.
  maxWorkers: 2,
};
