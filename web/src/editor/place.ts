/**
 * Where in a YAML text one is, as a path through it: `["volumes", 0, "scope"]`.
 *
 * By indentation alone: what one is writing is no YAML yet, so no parser would tell. What isn't told by indentation (flow
 * style, anchors) gets no help, rather than a wrong one.
 */

export type Path = readonly (string | number)[];

export interface Place {
  /** The mapping or list that one is in. */
  parent: Path;
  /** The key whose value one writes on this line; `null` while one writes a key, or an item of a list. */
  key: string | null;
  /** The keys that the mapping has beside this one. */
  beside: ReadonlySet<string>;
}

type Frame = { column: number } & ({ index: number } | { key: string; keys: Set<string> });

interface Line {
  /** The columns of its dashes. */
  dashes: readonly number[];
  /** The column of what follows them. */
  column: number;
  /** The key that stands there, if one does, and whether its value is a text of several lines. */
  key: string | null;
  block: boolean;
}

const KEY = /^("[^"]*"|'[^']*'|[^\s#:"'[{][^:#]*?)\s*:(?:\s+(.*))?$/;
const NOTHING = /^\s*(#.*)?$/;

function read(text: string): Line {
  const dashes: number[] = [];
  let column = text.length - text.trimStart().length;
  let rest = text.slice(column);
  while (/^-(\s|$)/.test(rest)) {
    dashes.push(column);
    const after = rest.slice(1);
    column += 1 + Math.max(after.length - after.trimStart().length, 1);
    rest = after.trimStart();
  }
  const found = KEY.exec(rest);
  const key = found?.[1]?.replace(/^(["'])(.*)\1$/, "$2") ?? null;
  return { dashes, column, key, block: /^[|>]/.test(found?.[2] ?? "") };
}

/** Go on to where a line's content stands: what is deeper has ended. */
function enter(frames: Frame[], line: Line): void {
  for (const column of line.dashes) {
    while ((frames.at(-1)?.column ?? -1) > column) frames.pop();
    const last = frames.at(-1);
    // a list may stand at the column of its own key
    if (last && "index" in last && last.column === column) last.index += 1;
    else frames.push({ column, index: 0 });
  }
  for (let last = frames.at(-1); last; last = frames.at(-1)) {
    const ended = last.column > line.column || ("index" in last && last.column === line.column);
    if (!ended) break;
    frames.pop();
  }
}

/** Where one is in these lines, at the end of that one. */
export function placeAt(lines: readonly string[], at: number): Place {
  const frames: Frame[] = [];
  let block = Infinity; // the column of a key whose value is a text of several lines
  for (const text of lines.slice(0, at)) {
    if (NOTHING.test(text)) continue;
    const line = read(text);
    if ((line.dashes[0] ?? line.column) > block) continue;
    block = Infinity;
    enter(frames, line);
    if (line.key === null) continue;
    const last = frames.at(-1);
    if (last && "key" in last && last.column === line.column) {
      last.key = line.key;
      last.keys.add(line.key);
    } else frames.push({ column: line.column, key: line.key, keys: new Set([line.key]) });
    if (line.block) block = line.column;
  }
  const line = read(lines[at] ?? "");
  enter(frames, line);
  const last = frames.at(-1);
  const known = last && "key" in last && last.column === line.column ? last : null;
  if (known) frames.pop();
  const beside = new Set(known?.keys);
  for (const text of lines.slice(at + 1)) {
    if (NOTHING.test(text)) continue;
    const below = read(text);
    if ((below.dashes[0] ?? below.column) < line.column) break;
    if (below.column === line.column && below.key !== null) beside.add(below.key);
  }
  return { parent: frames.map((each) => ("index" in each ? each.index : each.key)), key: line.key, beside };
}
