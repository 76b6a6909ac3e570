/** Which rows of a long list there have to be, so that it can be scrolled however long it is. All rows are equally high. */

export interface Rows {
  first: number;
  /** The one after the last. */
  end: number;
}

/** The rows that are to be seen, with some above and below so that nothing is blank while one scrolls. */
export function rowsInSight(scrolled: number, height: number, rowHeight: number, count: number, spare = 8): Rows {
  const first = Math.max(0, Math.min(Math.floor(scrolled / rowHeight) - spare, count));
  return { first, end: Math.min(count, Math.ceil((scrolled + height) / rowHeight) + spare) };
}

/** How far to scroll so that a row is wholly to be seen; as little as possible. */
export function scrolledTo(row: number, scrolled: number, height: number, rowHeight: number): number {
  if (row * rowHeight < scrolled) return row * rowHeight;
  return Math.max(scrolled, (row + 1) * rowHeight - height);
}
