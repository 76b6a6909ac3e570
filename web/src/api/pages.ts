/** Lists come in pages; what is shown as one list is asked for until its end. */

interface PageOf<T> {
  items: T[];
  next_cursor?: string | null;
}

/** All of a list, at most `most` of it. */
export async function everything<T>(
  ask: (cursor: string | undefined) => Promise<PageOf<T>>,
  most = 5000,
): Promise<T[]> {
  const found: T[] = [];
  let cursor: string | undefined;
  do {
    const page = await ask(cursor);
    found.push(...page.items);
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined && found.length < most);
  return found;
}
