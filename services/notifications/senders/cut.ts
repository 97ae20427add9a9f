const characters = new Intl.Segmenter("en", { granularity: "grapheme" });

/**
 * A text of a size at most: as it is, or its beginning with an ellipsis. Never ends within what a person sees as one
 * character, half of which would be another one or none.
 *
 * @param sizeOf what a piece of text takes; of two pieces together, the sum
 */
export function cut(
  text: string,
  most: number,
  sizeOf: (piece: string) => number,
  ellipsis = "…",
): string {
  if (sizeOf(text) <= most) return text;
  const room = most - sizeOf(ellipsis);
  let size = 0;
  let end = 0;
  for (const { segment, index } of characters.segment(text)) {
    size += sizeOf(segment);
    if (size > room) break;
    end = index + segment.length;
  }
  return room < 0 ? "" : `${text.slice(0, end).trimEnd()}${ellipsis}`;
}
