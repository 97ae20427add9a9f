import fc from "fast-check";

const LAST_CODE_POINT = 0x10ffff;

/**
 * Text of any code points, half surrogate pairs among them. As fast-check's own strings of unit `binary`, which
 * spend a second on a table of all code points first.
 */
export const anyText = ({ maxLength }: { maxLength: number }): fc.Arbitrary<string> =>
  fc
    .array(fc.integer({ min: 0, max: LAST_CODE_POINT }), { maxLength })
    .map((points) => String.fromCodePoint(...points));
