/** Declarations as texts: read, written, and changed in places. Loaded only where one is shown. */
import { type Document, isMap, isScalar, isSeq, parseDocument, stringify, visit, type YAMLSeq } from "yaml";
import type { Path } from "./place";

/** The server reads YAML 1.1 as well: what is a number there has to stand in quotes to be a text. */
const COMPAT = { compat: "yaml-1.1" } as const;

export function written(document: unknown): string {
  return stringify(document, { indent: 2, lineWidth: 110, aliasDuplicateObjects: false, ...COMPAT });
}

/** What a text says; `undefined` where it is no mapping, or has aliases, so that one place of it may be several. */
export function read(text: string): Readonly<Record<string, unknown>> | undefined {
  const document = parseDocument(text);
  let aliases = false;
  visit(document, { Alias: () => ((aliases = true), visit.BREAK) });
  if (document.errors.length > 0 || aliases || !isMap(document.contents)) return undefined;
  return document.toJS() as Record<string, unknown>;
}

/** A text with another value at a path; `undefined` takes it away. Comments and the order of all else stay. */
export function changed(text: string, path: Path, value: unknown): string {
  const document = parseDocument(text, COMPAT);
  const there = document.getIn(path, true);
  if (value === undefined) remove(document, path);
  else if (Array.isArray(value) && isSeq(there)) exchange(document, there, value);
  else {
    for (let length = 1; length < path.length; length++) {
      const above = document.getIn(path.slice(0, length), true);
      // a key without a value is no mapping yet
      if (isScalar(above) && above.value === null) document.deleteIn(path.slice(0, length));
    }
    document.setIn(path, isScalar(there) && typeof value !== "object" ? value : document.createNode(value));
  }
  return document.toString({ lineWidth: 0 });
}

/** Takes away what is at a path, and what is empty without it. */
function remove(document: Document, path: Path): void {
  for (let left = path; left.length > 0; left = left.slice(0, -1)) {
    if (document.hasIn(left)) document.deleteIn(left);
    const above = document.getIn(left.slice(0, -1), true);
    if (left.length === 1 || !(isMap(above) || isSeq(above)) || above.items.length > 0) return;
  }
}

/** Makes a list another one, and leaves the items at its ends that stay. */
function exchange(document: Document, list: YAMLSeq, values: readonly unknown[]): void {
  const old = list.toJSON() as unknown[];
  const same = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);
  const least = Math.min(old.length, values.length);
  let before = 0;
  while (before < least && same(old[before], values[before])) before++;
  let after = 0;
  while (after < least - before && same(old.at(-1 - after), values.at(-1 - after))) after++;
  const between = values.slice(before, values.length - after);
  if (old.length === values.length) between.forEach((value, index) => list.set(before + index, value));
  else list.items.splice(before, old.length - before - after, ...between.map((value) => document.createNode(value)));
}
