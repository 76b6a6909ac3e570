import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ApiError } from "../api/errors";
import { placeAt } from "./place";
import { textProblems } from "./problems";
import { explained, type Schema, suggestions } from "./schema";
import { changed, written } from "./yaml";

const schema = JSON.parse(readFileSync("../docs/reference/workload.schema.json", "utf8")) as Schema;

/** The place of `|` in a text. */
function place(text: string) {
  const lines = text.split("\n");
  const at = lines.findIndex((line) => line.includes("|"));
  lines[at] = lines[at]!.slice(0, lines[at]!.indexOf("|"));
  return placeAt(lines, at);
}

function offered(text: string, indent = ""): string[] {
  return suggestions(schema, place(text), indent).map((each) => each.label);
}

test.each([
  ["na|", [], null],
  ["name: notes\nsource:\n  ty|", ["source"], null],
  ["source:\n  type: im|", ["source"], "type"],
  ["source:\n  type: image\nna|", [], null],
  ["volumes:\n  - target: /data\n    sc|", ["volumes", 0], null],
  ["volumes:\n- target: /a\n- target: /b\n  scope: st|", ["volumes", 1], "scope"],
  ["volumes:\n- |", ["volumes", 0], null],
  ["volumes:\n- target: /a\nst|", [], null],
  ["a:\n  b: |\n    text: x\n  c: y\nd:\n  - - e: 1\n      f|".replace("b: |", "b: >"), ["d", 0, 0], null],
  ["# a comment\n\nsnapshots:\n  # another\n  keep:\n    da|", ["snapshots", "keep"], null],
  ["a:\n  - b:\n      - c: 1\n      - d: 2\n  - e|", ["a", 1], null],
])("where one is in %j", (text, parent, key) => {
  expect(place(text)).toMatchObject({ parent, key });
});

test("keys that are there already, above and below, are not offered again", () => {
  expect([...place("name: a\nst|\nsource:\n  type: image\nenv: {}").beside].sort()).toEqual(["env", "name", "source"]);
  expect([...place("volumes:\n- target: /a\n  s|\n- scope: x").beside]).toEqual(["target"]);
  expect(offered("name: notes\nn|")).not.toContain("name");
});

test("keys, and the values that a key can have, come from the server's schema", () => {
  expect(offered("na|")).toEqual(expect.arrayContaining(["name", "source", "volumes", "snapshots"]));
  expect(offered("volumes:\n  - sc|", "    ")).toEqual(expect.arrayContaining(["scope", "target", "read_only"]));
  expect(offered("volumes:\n  - scope: |")).toEqual(expect.arrayContaining(["stage", "absolute"]));
  expect(offered("snapshots:\n  keep:\n    |")).toEqual(expect.arrayContaining(["last", "daily"]));
  expect(offered("snapshots:\n  before_deploy: |")).toEqual(["true", "false"]);
  expect(offered("nonsense:\n  |")).toEqual([]);
});

test("a key brings what its value begins with, and says what it is", () => {
  const [volumes] = suggestions(schema, place("volu|"), "").filter((each) => each.label === "volumes");
  expect(volumes).toMatchObject({ insert: "volumes:\n  - ", words: "What it stores, and where." });
  expect(explained(schema, [], "env")).toContain("Environment variables");
});

test("problems are told with their lines, whatever the server found", () => {
  const response = new Response(null, { status: 422 });
  const refusal = (details: unknown) =>
    ApiError.of(response, { error: { code: "x", message: "No.", next_step: "Mend it.", details } });
  expect(
    textProblems(
      refusal({
        problems: [{ line: 5, column: 3, path: "a[0].b", code: "c", message: "m", next_step: "n" }, { message: "o" }],
      }),
    ),
  ).toEqual([
    { line: 5, column: 3, path: "a[0].b", code: "c", message: "m", next_step: "n" },
    { line: 0, column: 0, path: "", code: "", message: "o", next_step: "" },
  ]);
  expect(textProblems(refusal({ line: 3, column: 9 }))).toEqual([
    { line: 3, column: 9, path: "", code: "x", message: "No.", next_step: "Mend it." },
  ]);
  expect(textProblems(new Error("other"))).toEqual([]);
});

test("a declaration is written as people write it", () => {
  expect(written({ name: "a", ports: ["8080:80"], env: { A: "1", B: "true" } })).toBe(
    'name: a\nports:\n  - 8080:80\nenv:\n  A: "1"\n  B: "true"\n',
  );
});

test("a text that the server would read as a number stands in quotes", () => {
  expect(written({ build: "2024_01_15", mask: "0b11" })).toBe('build: "2024_01_15"\nmask: "0b11"\n');
  expect(changed("env: {}\n", ["env", "BUILD"], "1_000")).toContain('"1_000"');
});
