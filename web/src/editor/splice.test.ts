import { isCollection, isMap, isScalar, parseDocument, type Range } from "yaml";
import { expect, test } from "vitest";
import type { Path } from "./place";
import { spliced } from "./splice";
import { changed } from "./yaml";

/** Declarations as people lay them out; none as it would be written anew. */
const LAYOUTS: Readonly<Record<string, string>> = {
  "four columns, lists at their key": `#  of the family


name:   'notes'   # its name
source:
    type:  "image"
    image:    registry.example/notes:1.4   # see the release notes


ports:
- "8080:80"    # the proxy's

# the second
- 9000
volumes:
-   target: '/data'   # all of it
    # what it is
    scope:    stage
-   scope:   named

    target:  /cache
health:   {type: http,   port:  80}

env:
    # the hour
    TZ:   'UTC'

    #  A: b
stop_grace:     10s

# the end
`,
  "between brackets": `{
  "name": "notes",   # its name
  "source": { "type": "image","image":"notes:1" },

  "ports": [ 80,443 ,   "53/udp" ],
  "volumes": [
      {"target": "/a"},   # first
      {"target": "/b", "scope" : "stage"}
  ],
  "env": {
    TZ: UTC,    # the hour

    LANG: 'C',
    },
  "snapshots": {}, "health": [ ]
}
`,
  "texts of several lines": `---
name : notes
env:

  A: |+
      one

        two

  B: >-   # folded
     three
     four
  C: "five
      six"
  D: plain
    on two lines
  E:
  F: ~
  "G h":    'it''s'
source:
  {image: a,
   type: image}
command:
  - sh
  -  -c
  - |
    echo a

    echo b

  -
    deep: 1
    more: 2
  - - nested
    - list
...
`,
  "without a line's end": "name: a\nenv:\n   X: 1   # x\n   Y: 2\nports:   [80]\nvolumes:\n - target: /a",
};
const cases = Object.entries(LAYOUTS).flatMap(([name, text]) => [
  [name, text] as const,
  [`${name}, with carriage returns`, text.replaceAll("\n", "\r\n")] as const,
]);

interface Place {
  path: Path;
  value: unknown;
  scalar: boolean;
  range: Range;
  /** Where its key, or the item itself, begins. */
  from: number;
}

/** Each place of a text. */
function places(text: string): Place[] {
  const document = parseDocument(text);
  const found: Place[] = [];
  const look = (node: unknown, path: Path): void => {
    if (!isCollection(node)) return;
    node.items.forEach((item, index) => {
      const pair = isMap(node) ? (item as { key: { value: string; range: Range }; value: unknown }) : undefined;
      const value = (pair ? pair.value : item) as { range: Range; toJS: (of: unknown) => unknown };
      const place = [...path, pair?.key.value ?? index];
      const from = pair?.key.range[0] ?? text.lastIndexOf("\n", value.range[0]) + 1;
      found.push({ path: place, value: value.toJS(document), scalar: isScalar(value), range: value.range, from });
      look(value, place);
    });
  };
  look(document.contents, []);
  return found;
}

/** What both texts begin and end with, as lengths. */
function common(one: string, other: string): [before: number, after: number] {
  const least = Math.min(one.length, other.length);
  let before = 0;
  while (before < least && one[before] === other[before]) before++;
  let after = 0;
  while (after < least - before && one.at(-1 - after) === other.at(-1 - after)) after++;
  return [before, after];
}

const says = (text: string): unknown => {
  const document = parseDocument(text);
  expect(document.errors, text).toEqual([]);
  return document.toJS() as unknown;
};

/** What a document says with another value at a place; `undefined` for none. */
function withValue(document: unknown, path: Path, value: unknown): unknown {
  const copy = structuredClone(document) as Record<string | number, unknown>;
  const last = path.at(-1)!;
  const above = path.slice(0, -1).reduce<any>((below, key) => below[key], copy);
  if (value !== undefined) above[last] = value;
  else if (Array.isArray(above)) above.splice(Number(last), 1);
  else delete above[last];
  return copy;
}

test.each(cases)("%s: another value changes its own bytes and no other", (_, text) => {
  const all = places(text).filter((place) => place.scalar);
  expect(all.length).toBeGreaterThan(4);
  for (const { path, range } of all) {
    for (const value of ["other", "a: b # c", "1_0", "", 7, true, " 'quoted' ", "[x, {y"]) {
      const result = changed(text, path, value);
      const about = `${JSON.stringify(path)} = ${JSON.stringify(value)}:\n${result}`;
      expect(says(result), about).toEqual(withValue(says(text), path, value));
      expect(result.startsWith(text.slice(0, range[0])), about).toBe(true);
      expect(result.endsWith(text.slice(range[1])), about).toBe(true);
    }
  }
});

test.each(cases)("%s: a text of several lines adds lines below its own", (_, text) => {
  for (const { path, range } of places(text).filter((place) => place.scalar)) {
    const value = "first\n\n  second\nthird";
    const result = changed(text, path, value);
    const about = `${JSON.stringify(path)}:\n${result}`;
    expect(says(result), about).toEqual(withValue(says(text), path, value));
    expect(result.startsWith(text.slice(0, range[0])), about).toBe(true);
    const below = text.slice(text.indexOf("\n", range[1] - 1) + 1);
    if (text.includes("\n", range[1] - 1)) expect(result.endsWith(below), about).toBe(true);
    expect(result.includes("\r\n") && /[^\r]\n/.test(result), about).toBe(false);
  }
});

test.each(cases)("%s: what goes takes its own lines along and no others", (_, text) => {
  for (const { path, range, from } of places(text)) {
    const beside = places(text).filter((each) => each.path.length === path.length && isBeside(each.path, path));
    if (beside.length === 1) continue; // what is empty without it goes as well
    const result = changed(text, path, undefined);
    const about = `${JSON.stringify(path)}:\n${result}`;
    expect(says(result), about).toEqual(withValue(says(text), path, undefined));
    const [before, after] = common(text, result);
    expect(before + after, about).toBe(result.length); // one piece is gone
    const gone = text.slice(before, text.length - after);
    const comments = gone.split("\n").filter((line) => line.trim().startsWith("#"));
    const mine = text.slice(from, range[1]);
    for (const comment of comments) expect(mine, about).toContain(comment.trim());
  }
});

function isBeside(one: Path, other: Path): boolean {
  return JSON.stringify(one.slice(0, -1)) === JSON.stringify(other.slice(0, -1));
}

test.each(cases)("%s: what comes is put in as one piece, and goes without a trace", (_, text) => {
  const collections = places(text).filter((place) => typeof place.value === "object" && place.value !== null);
  const above = [[], ...collections.filter((place) => !Array.isArray(place.value)).map((place) => place.path)];
  for (const path of above) {
    for (const value of ["new", "8080:80", "one\ntwo", { deep: { er: [1, { a: "b" }] } }, ["x", "y"]]) {
      const place = [...path, "NEW"];
      const added = changed(text, place, value);
      const about = `${JSON.stringify(place)} = ${JSON.stringify(value)}:\n${added}`;
      expect(says(added), about).toEqual(withValue(says(text), place, value));
      const [before, after] = common(text, added);
      if (!/\{ *\}/.test(text)) expect(before + after, about).toBeGreaterThanOrEqual(text.length);
      const empty = collections.some((each) => each.path === path && Object.keys(each.value as object).length === 0);
      if (!empty) expect(changed(added, place, undefined).trimEnd(), about).toBe(text.trimEnd());
    }
  }
  for (const { path, value } of collections.filter((place) => Array.isArray(place.value))) {
    const items = value as unknown[];
    for (const at of [0, Math.floor(items.length / 2), items.length]) {
      const added = changed(text, path, [...items.slice(0, at), "new: item", ...items.slice(at)]);
      const about = `${JSON.stringify(path)} at ${at}:\n${added}`;
      expect(says(added), about).toEqual(
        withValue(says(text), path, [...items.slice(0, at), "new: item", ...items.slice(at)]),
      );
      const [before, after] = common(text, added);
      if (items.length > 0) expect(before + after, about).toBeGreaterThanOrEqual(text.length);
    }
  }
});

test("what is said already changes nothing", () => {
  for (const [, text] of cases)
    for (const { path, value } of places(text)) expect(changed(text, path, value), JSON.stringify(path)).toBe(text);
});

test.each([
  ["env:   # of the proxy\nname: a\n", ["env", "B"], "c", "env:   # of the proxy\n  B: c\nname: a\n"],
  ["env:\n  # B: d\nname: a\n", ["env", "B"], "c", "env:\n  B: c\n  # B: d\nname: a\n"],
  ["env: ~ # none\nname: a\n", ["env", "B"], "c", "env: # none\n  B: c\nname: a\n"],
  ["env: {}   # none\n", ["env", "B"], "1_000", 'env: { B: "1_000" }   # none\n'],
  ["a:\n  b: |  # text\n     x\n  c: 1\n", ["a", "b"], "y\nz\n", "a:\n  b: |  # text\n     y\n     z\n  c: 1\n"],
  ["a: b # c\n", ["a"], "y\nz\n", "a: | # c\n  y\n  z\n"],
  ["v:\n- t: /a # x\n  # y\n  s: z\n", ["v", 0, "t"], undefined, "v:\n- # y\n  s: z\n"],
  ["v: [a, b] # x\n", ["v"], ["a"], "v: [a] # x\n"],
  ["v: 80   # x\nw: 1\n", ["v"], [80, 81], "v:   # x\n  - 80\n  - 81\nw: 1\n"],
] as const)("%j with another value at %j", (text, path, value, wanted) => {
  expect(spliced(text, path, value)).toBe(wanted);
  expect(changed(text, path, value)).toBe(wanted);
});
