/** Declarations as texts: read, written, and changed in places. Loaded only where one is shown. */
import { type Document, isMap, isScalar, isSeq, parseDocument, stringify, visit } from "yaml";
import type { Path } from "./place";
import { COMPAT, spliced } from "./splice";

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

/** A text with another value at a path; `undefined` takes it away. All that isn't about that place stays as it is. */
export function changed(text: string, path: Path, value: unknown): string {
  const document = parseDocument(text, COMPAT);
  const before = meaning(document);
  set(document, path, value);
  const wanted = meaning(document);
  if (wanted === before) return text;
  const found = spliced(text, path, value);
  // what can't be put into the text as it stands is written anew as a whole: never is another thing said than is meant
  return found !== undefined && meaning(parseDocument(found)) === wanted ? found : document.toString({ lineWidth: 0 });
}

function meaning(document: Document | Document.Parsed): string | undefined {
  return document.errors.length > 0 ? undefined : JSON.stringify(document.toJS());
}

function set(document: Document, path: Path, value: unknown): void {
  const there = document.getIn(path, true);
  if (value === undefined) remove(document, path);
  else {
    for (let length = 1; length < path.length; length++) {
      const above = document.getIn(path.slice(0, length), true);
      // a key without a value is no mapping yet
      if (isScalar(above) && above.value === null) document.setIn(path.slice(0, length), document.createNode({}));
    }
    document.setIn(path, isScalar(there) && typeof value !== "object" ? value : document.createNode(value));
  }
}

/** Takes away what is at a path, and what is empty without it. */
function remove(document: Document, path: Path): void {
  for (let left = path; left.length > 0; left = left.slice(0, -1)) {
    if (document.hasIn(left)) document.deleteIn(left);
    const above = document.getIn(left.slice(0, -1), true);
    if (left.length === 1 || !(isMap(above) || isSeq(above)) || above.items.length > 0) return;
  }
}
