/** A command as people write it, split into the program and its arguments as a shell would; none of its other magic. */

const TOKEN = /\s+|'([^']*)'|"((?:[^"\\]|\\.)*)"|\\([\s\S])|([^\s'"\\]+)/y;

/** The words; `null` where a quote is not closed or the end is escaped. */
export function words(text: string): string[] | null {
  const found: string[] = [];
  let word: string | undefined;
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (!match) return null;
    const part = match[1] ?? match[2]?.replace(/\\(["\\])/g, "$1") ?? match[3] ?? match[4];
    if (part !== undefined) word = (word ?? "") + part;
    else if (word !== undefined) {
      found.push(word);
      word = undefined;
    }
  }
  return word === undefined ? found : [...found, word];
}
