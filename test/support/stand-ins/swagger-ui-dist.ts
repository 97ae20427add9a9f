/**
 * Stands for swagger-ui-dist: of its entry the services want nothing but the folder. The entry also reads all that a
 * browser shows, and would do so for every test file.
 */
export { default as getAbsoluteFSPath } from "swagger-ui-dist/absolute-path.js";
