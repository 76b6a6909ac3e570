/**
 * A YAML text with another value at a place, and each byte that isn't about that place as it was: a value is exchanged
 * where it stands, and what comes or goes is whole lines, or an item between brackets.
 */
import {
  type CST,
  Document,
  isCollection,
  isMap,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  parseDocument,
  Scalar,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import type { Path } from "./place";

/** The server reads YAML 1.1 as well: what is a number there has to stand in quotes to be a text. */
export const COMPAT = { compat: "yaml-1.1" } as const;

type Mapping = YAMLMap.Parsed | YAMLSeq.Parsed;

interface Edit {
  from: number;
  to: number;
  text: string;
}

/** A pair of a mapping or an item of a list, and where it stands. */
interface Entry {
  within: Mapping;
  value: Node | null;
  from: number;
  /** Behind its colon or dash, or where one would be. */
  mark: number;
  /** Where it ends, on its last line: before what may follow there. */
  to: number;
}

/** The text; `undefined` where it is beyond what is known here. */
export function spliced(text: string, path: Path, value: unknown): string | undefined {
  const { contents } = parseDocument(text, { keepSourceTokens: true });
  if (!isCollection(contents)) return undefined;
  const splicing = new Splicing(text, contents as Mapping);
  const edits = value === undefined ? splicing.without(path) : splicing.put(path, value);
  if (!edits) return undefined;
  let result = text;
  for (const { from, to, text: put } of edits.sort((one, other) => other.from - one.from))
    result = result.slice(0, from) + put + result.slice(to);
  return result;
}

class Splicing {
  readonly #newline: string;
  readonly #style: { indent: number; indentSeq: boolean; lineWidth: 0 };

  constructor(
    readonly text: string,
    readonly root: Mapping,
  ) {
    this.#newline = text.includes("\r\n") ? "\r\n" : "\n";
    this.#style = { lineWidth: 0, ...styleOf(root) };
  }

  /** What takes away a place, and what is empty without it. */
  without(path: Path): Edit[] | undefined {
    const way = this.#way(path);
    if (way.length < path.length) return [];
    let last = way.length - 1;
    while (last > 0 && way[last]!.within.items.length === 1) last--;
    return this.#drop(way[last]!);
  }

  put(path: Path, value: unknown): Edit[] | undefined {
    const way = this.#way(path);
    const entry = way.at(-1);
    if (way.length < path.length) {
      const within = entry ? entry.value : this.root;
      const nested = path
        .slice(way.length + 1)
        .reduceRight((below, key) => (typeof key === "number" ? [below] : { [key]: below }), value);
      const key = path[way.length]!;
      const added = typeof key === "number" ? [nested] : { [key]: nested };
      if (isCollection(within)) return this.#append(within as Mapping, added);
      return entry && this.#exchange(entry, added);
    }
    if (!entry) return undefined;
    if (Array.isArray(value) && value.length > 0 && isSeq(entry.value)) {
      if (entry.value.items.length > 0) return this.#exchangeItems(entry.value as YAMLSeq.Parsed, value);
    }
    return this.#exchange(entry, value);
  }

  /** The entries on the way to a place, as far as there are some. */
  #way(path: Path): Entry[] {
    const way: Entry[] = [];
    let within: unknown = this.root;
    for (const key of path) {
      const entry: Entry | undefined = isCollection(within)
        ? entriesOf(this.text, within as Mapping)[indexIn(within as Mapping, key)]
        : undefined;
      if (!entry) break;
      way.push(entry);
      within = entry.value;
    }
    return way;
  }

  #exchange(entry: Entry, value: unknown): Edit[] {
    const { within, value: old, mark, to } = entry;
    const type = isScalar(old) && typeof value === "string" && !value.includes("\n") ? old.type : undefined;
    const node = type && !type.startsWith("BLOCK") ? Object.assign(new Scalar(value), { type }) : value;
    const at = old?.range && old.range[1] > old.range[0] ? old.range[0] : mark;
    if (within.flow) return [{ from: at, to, text: `${at === mark ? " " : ""}${this.#flow([node])}` }];
    const block = isScalar(old) && old.type?.startsWith("BLOCK") ? this.text.slice(at, to).split(/\r?\n/) : undefined;
    const body = block?.slice(1).find((line) => line.trim());
    const indent = body ? body.length - body.trimStart().length - columnOf(within) : this.#style.indent;
    const [head = "", ...lines] = this.#lines(within, isSeq(within) ? [node] : { k: node }, indent > 0 ? indent : 2);
    const first = head.trimStart().slice(isSeq(within) ? 1 : 2); // without the dash or the key
    const from = first === "" || at === mark ? mark : at;
    const words = from === mark ? first : first.trimStart();
    if (!block) return [{ from, to, text: words }, ...this.#insert(to, lines)];
    // what follows on the line of `|` is a comment
    const rest = block[0]!.replace(/^[|>][-+\d]*/, "");
    return [{ from, to, text: [words + rest, ...lines].join(this.#newline) }];
  }

  /** Makes the items of a list others, and leaves those at its ends that stay. */
  #exchangeItems(list: YAMLSeq.Parsed, values: readonly unknown[]): Edit[] {
    const entries = entriesOf(this.text, list);
    const old = list.items.map((item) => item.toJS(DOCUMENT) as unknown);
    const same = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);
    const least = Math.min(old.length, values.length);
    let before = 0;
    while (before < least && same(old[before], values[before])) before++;
    let after = 0;
    while (after < least - before && same(old.at(-1 - after), values.at(-1 - after))) after++;
    const edits: Edit[] = [];
    for (let index = before; index < least - after; index++)
      if (!same(old[index], values[index])) edits.push(...this.#exchange(entries[index]!, values[index]));
    for (const entry of entries.slice(least - after, old.length - after)) edits.push(...this.#drop(entry));
    const added = values.slice(least - after, values.length - after);
    return added.length > 0 ? [...edits, ...this.#addItems(list, entries[old.length - after], added)] : edits;
  }

  /** Puts items before another one, or at the end. */
  #addItems(list: YAMLSeq.Parsed, next: Entry | undefined, values: readonly unknown[]): Edit[] {
    if (!next) return this.#append(list, values);
    if (list.flow) return [{ from: next.from, to: next.from, text: `${this.#flow(values)}, ` }];
    const lines = this.#lines(list, values).map((line) => line + this.#newline);
    if (this.#begins(next)) return [{ from: this.#start(next.from), to: this.#start(next.from), text: lines.join("") }];
    const indent = " ".repeat(columnOf(list));
    return [{ from: next.from, to: next.from, text: lines.join("").slice(indent.length) + indent }];
  }

  #append(within: Mapping, added: unknown): Edit[] {
    const last = entriesOf(this.text, within).at(-1);
    if (!within.flow) return last ? this.#insert(last.to, this.#lines(within, added)) : [];
    if (last) return [{ from: last.to, to: last.to, text: `, ${this.#flow(added)}` }];
    const [open, close] = isSeq(within) ? "[]" : "{}";
    return [{ from: within.range[0], to: within.range[1], text: `${open} ${this.#flow(added)} ${close}` }];
  }

  /** Takes an entry away that is not the only one. */
  #drop(entry: Entry): Edit[] {
    const entries = entriesOf(this.text, entry.within);
    const index = entries.findIndex((each) => each.from === entry.from);
    const [before, next] = [entries[index - 1], entries[index + 1]];
    const { from, to } = entry;
    const end = this.#end(to);
    const lines = [{ from: this.#start(from), to: end, text: "" }];
    if (!entry.within.flow) {
      if (this.#begins(entry)) return lines;
      // the first beside a dash: what is next takes its place
      return [{ from, to: end + /^\s*/.exec(this.text.slice(end))![0].length, text: "" }];
    }
    const alone = this.#begins(entry) && /^\s*,?\s*(#.*)?$/.test(this.text.slice(to, end));
    if (alone) return lines;
    if (before && this.#end(before.to) === end) return [{ from: before.to, to, text: "" }];
    return [{ from, to: next?.from ?? to, text: "" }];
  }

  /** Lines after the one that something ends on. */
  #insert(to: number, lines: readonly string[]): Edit[] {
    if (lines.length === 0) return [];
    const at = this.#end(to);
    const open = at === this.text.length && !this.text.endsWith("\n");
    const text = lines.join(this.#newline);
    return [{ from: at, to: at, text: open ? this.#newline + text : text + this.#newline }];
  }

  /** What is added to a mapping or list, as lines that stand in its column. */
  #lines(within: Mapping, added: unknown, indent = isSeq(within) ? 2 : this.#style.indent): string[] {
    const text = new Document(added, COMPAT).toString({ ...this.#style, indent });
    const column = " ".repeat(columnOf(within));
    const lines = text.replace(/\n$/, "").split("\n");
    return lines.map((line) => line && column + line);
  }

  /** Between brackets, without them. */
  #flow(added: unknown): string {
    const style = { lineWidth: 0, collectionStyle: "flow", doubleQuotedMinMultiLineLength: Infinity } as const;
    const document = new Document(added, COMPAT);
    const text = document.toString(style);
    // a text of several lines becomes one
    const line = text.trimEnd().includes("\n")
      ? document.toString({ ...style, defaultStringType: "QUOTE_DOUBLE" })
      : text;
    return line.trim().slice(1, -1).trim();
  }

  /** Whether an entry is the first on its line. */
  #begins({ from }: Entry): boolean {
    return this.text.slice(this.#start(from), from).trim() === "";
  }

  #start(at: number): number {
    return this.text.lastIndexOf("\n", at - 1) + 1;
  }

  #end(at: number): number {
    return this.text.indexOf("\n", at) + 1 || this.text.length;
  }
}

const DOCUMENT = new Document();

function columnOf(within: YAMLMap | YAMLSeq): number {
  return (within.srcToken as CST.BlockMap | CST.BlockSequence).indent;
}

function indexIn(within: Mapping, key: string | number): number {
  if (isSeq(within)) return typeof key === "number" ? key : -1;
  return (within as YAMLMap.Parsed).items.findIndex(
    (pair) => isScalar(pair.key) && String(pair.key.value) === `${key}`,
  );
}

/** The pairs or items of a mapping or list, in their order. */
function entriesOf(text: string, within: Mapping): Entry[] {
  const tokens = (within.srcToken as CST.BlockMap).items;
  return within.items.map((item, index) => {
    const pair = isMap(within) ? (item as Pair<Node, Node | null>) : undefined;
    const value = pair ? pair.value : (item as Node);
    const token = (pair ? (pair as { srcToken?: CST.CollectionItem }).srcToken : tokens[index])!;
    const said = (each: CST.SourceToken) => !["space", "newline", "comment", "comma"].includes(each.type);
    const own = [...token.start.filter(said), token.key, token.sep?.find(said), token.value].find((each) => each)!;
    const dash = token.start.find((each) => each.type === "seq-item-ind");
    const sign = dash ?? token.sep?.find((each) => each.type === "map-value-ind");
    const mark = sign ? sign.offset + 1 : (pair?.key.range?.[1] ?? own.offset);
    const props = [...(token.start ?? []), ...(token.sep ?? [])].filter(said);
    const marks = props.map((each) => each.offset + each.source.length);
    return { within, value, from: own.offset, mark, to: Math.max(mark, ...marks, endOf(text, value)) };
  });
}

/** Where a value ends, on its last line. */
function endOf(text: string, node: Node | null): number {
  if (!node?.range || node.range[0] === node.range[1]) return 0; // nothing is written
  if (isCollection(node) && !node.flow) return entriesOf(text, node as Mapping).at(-1)?.to ?? node.range[1];
  const [from, to] = node.range;
  if (!isScalar(node) || !node.type?.startsWith("BLOCK")) return to;
  const source = text.slice(from, to);
  const kept = /^[|>]\d*\+/.test(source) ? source.replace(/\r?\n$/, "") : source.trimEnd();
  return from + kept.length;
}

/** How what is there is indented, so that what is added looks like it. */
function styleOf(root: Mapping): { indent: number; indentSeq: boolean } {
  const style = { indent: 2, indentSeq: true };
  if (root.flow || !isMap(root)) return style;
  const below = root.items.flatMap((pair) => (isCollection(pair.value) && !pair.value.flow ? [pair.value] : []));
  const mapping = below.find((each) => isMap(each));
  const list = below.find((each) => isSeq(each));
  if (mapping) style.indent = columnOf(mapping);
  if (list) style.indentSeq = columnOf(list) > 0;
  return style;
}
