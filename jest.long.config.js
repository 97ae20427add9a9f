const { testPathIgnorePatterns: _long, ...config } = require("./jest.config.js");

/** What takes too long for every change: long races, fuzzing, faults. One file at a time, for steady loads. */
/** @type {import('jest').Config} */
module.exports = {
  ...config,
  roots: ["<rootDir>/test/long"],
  maxWorkers: 1,
  testTimeout: 600_000,
};
