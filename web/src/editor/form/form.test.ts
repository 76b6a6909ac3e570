import { readFileSync } from "node:fs";
import { cleanup, render, screen } from "@testing-library/svelte";
import { afterEach, beforeAll, expect, test } from "vitest";
import { messages as en } from "../../i18n/languages/en";
import { i18n } from "../../i18n/index.svelte";
import { Draft } from "../draft.svelte";
import type { Schema } from "../schema";
import * as yaml from "../yaml";
import { type FieldName, fieldOf, GROUPS, ITEMS, pathText, valueOf } from "./fields";
import { Form } from "./form.svelte";
import FormField from "./FormField.svelte";

const schema = JSON.parse(readFileSync("../docs/reference/workload.schema.json", "utf8")) as Schema;
const names = [...Object.values(GROUPS), ...Object.values(ITEMS)].flat() as FieldName[];

const TEXT = `# of the family
name: notes
source:
  type: image
  image: registry.example/notes:1.4 # see the release notes
ports:
  - 127.0.0.1:8080:80 # the proxy's
  - 9000:9000
env:
  TZ: UTC
health:
  type: http
  port: 80
  path: /healthz
stop_grace: 10s
`;

beforeAll(() => i18n.speak("en"));
afterEach(cleanup);

/** Where a field of the form is, in its first item if it belongs to a list. */
const pathOf = (name: FieldName) =>
  name in ITEMS || !(name.split(".")[0]! in ITEMS) ? name.split(".") : [name.split(".")[0]!, 0, name.split(".")[1]!];

function formOf(text: string): Form {
  return new Form(new Draft(text), schema, yaml);
}

test("each field of the form is a key of the server's schema, and each of its choices has words", () => {
  const words = new Set<string>();
  for (const name of names) {
    const path = pathOf(name);
    const field = fieldOf(schema, path);
    expect(field.options.length > 0 || field.kind !== "choice", name).toBe(true);
    for (const option of field.options) words.add(`form_option.${path.at(-1)}.${option}`);
    expect(Object.keys(en), name).toContain(`form_field.${name}`);
  }
  const told = Object.keys(en).filter((key) => key.startsWith("form_option."));
  expect(told.sort()).toEqual([...words].sort());
  const about = Object.keys(en).flatMap((key) => /^form_(?:field|hint|add|item)\.(.+)$/.exec(key)?.[1] ?? []);
  expect(about.filter((name) => !names.includes(name as FieldName))).toEqual([]);
});

test.each([
  ["name", { kind: "text", required: true }],
  ["max_instances", { kind: "number", min: 1, max: 100, usual: "1" }],
  ["health.port", { kind: "number", min: 1, max: 65535 }],
  ["health.type", { kind: "choice", usual: "none", options: ["http", "tcp", "command", "docker", "none"] }],
  ["stop_grace", { kind: "text", usual: "30s", numbers: true }],
  ["ports", { kind: "texts", example: "127.0.0.1:8080:80" }],
  ["env", { kind: "named" }],
  ["volumes", { kind: "rows" }],
  ["volumes.read_only", { kind: "flag", usual: "false" }],
] as const)("what %s is like is read from the schema", (name, wanted) => {
  expect(fieldOf(schema, pathOf(name))).toMatchObject(wanted);
});

test("of a volume just those scopes are offered that the place allows", () => {
  expect(fieldOf(schema, ["volumes", 0, "scope"]).options).not.toContain("instance");
});

test("what is typed becomes what is written: numbers where they may stand, lines as a list, nothing as nothing", () => {
  expect(valueOf(fieldOf(schema, ["ports"]), "80\n\n 8080:80 \n")).toEqual([80, "8080:80"]);
  expect(valueOf(fieldOf(schema, ["secrets"]), "1\n")).toEqual(["1"]);
  expect(valueOf(fieldOf(schema, ["stop_grace"]), "1m")).toBe("1m");
  expect(valueOf(fieldOf(schema, ["stop_grace"]), " ")).toBeUndefined();
});

test.each([
  [["source", "image"], "notes:2", "  image: notes:2 # see the release notes"],
  [["ports"], ["127.0.0.1:8080:80", "9001:9000"], "  - 127.0.0.1:8080:80 # the proxy's\n  - 9001:9000\nenv"],
  [["ports"], ["53/udp", "127.0.0.1:8080:80", "9000:9000"], "  - 53/udp\n  - 127.0.0.1:8080:80 # the proxy's\n"],
  [["ports"], ["127.0.0.1:8080:80"], "  - 127.0.0.1:8080:80 # the proxy's\nenv"],
  [["env", "PORT"], "80", '  TZ: UTC\n  PORT: "80"\nhealth'],
  [["snapshots", "keep", "daily"], 7, "stop_grace: 10s\nsnapshots:\n  keep:\n    daily: 7\n"],
])("another value at %j leaves comments and order", (path, value, wanted) => {
  const text = yaml.changed(TEXT, path, value);
  expect(text).toContain(wanted);
  expect(text.startsWith("# of the family\nname: notes\n")).toBe(true);
});

test("what is taken away leaves nothing empty behind, and comes back just so", () => {
  const added = yaml.changed(yaml.changed(TEXT, ["snapshots", "keep", "daily"], 7), ["volumes", 0], { target: "/a" });
  expect(yaml.read(added)?.["volumes"]).toEqual([{ target: "/a" }]);
  const removed = yaml.changed(
    yaml.changed(added, ["snapshots", "keep", "daily"], undefined),
    ["volumes", 0],
    undefined,
  );
  expect(removed).toBe(TEXT);
});

test("a key without a value becomes a mapping where it is written into", () => {
  expect(yaml.changed("name: a\nenv:\n", ["env", "B"], "c")).toBe("name: a\nenv:\n  B: c\n");
});

test("a text that can't be told place by place is left alone", () => {
  for (const text of ["a: [", "- a", "", "a: &x 1\nb: *x"]) expect(yaml.read(text)).toBeUndefined();
});

test("what another choice leaves no place for goes, and isn't shown", () => {
  const form = formOf(TEXT);
  expect([form.shows("health.path", ["health", "path"]), form.shows("health.command", ["health", "command"])]).toEqual([
    true,
    false,
  ]);
  form.set("health.type", ["health", "type"], "tcp");
  expect(form.at(["health"])).toEqual({ type: "tcp", port: 80 });
  form.set("health.type", ["health", "type"], undefined);
  expect(form.at(["health"])).toBeUndefined();
});

test("what a choice put aside comes back with it, just as it was typed", () => {
  const form = formOf(TEXT);
  const choose = (type: string | undefined) => form.set("health.type", ["health", "type"], type);
  choose("command");
  expect(form.at(["health"])).toEqual({ type: "command" });
  form.set("health.command", ["health", "command"], ["true"]);
  choose(undefined);
  choose("tcp");
  expect(form.at(["health"])).toEqual({ type: "tcp", port: 80 });
  form.set("health.port", ["health", "port"], 81);
  choose("http");
  expect(form.at(["health"])).toEqual({ type: "http", port: 81, path: "/healthz" });
  choose("command");
  expect(form.at(["health"])).toEqual({ type: "command", command: ["true"] });
});

test("what one volume left aside never comes back in another", () => {
  const form = formOf(
    "name: a\nvolumes:\n  - target: /a\n    scope: absolute\n    source: /srv/a\n  - target: /b\n    scope: ephemeral\n",
  );
  form.set("volumes.scope", ["volumes", 0, "scope"], "ephemeral");
  expect(form.at(["volumes", 0, "source"])).toBeUndefined();
  form.set("volumes", ["volumes", 0], undefined);
  form.set("volumes.scope", ["volumes", 0, "scope"], "absolute");
  expect(form.at(["volumes"])).toEqual([{ target: "/b", scope: "absolute" }]);
});

test("a problem is told at its field, and at the list that its item is in", () => {
  const form = formOf(TEXT);
  form.draft.problems = [
    {
      path: "ports[1]",
      code: "port_malformed",
      message: "ports[1] can't be 'x'.",
      next_step: "Write it so.",
      line: 8,
      column: 5,
    },
  ];
  expect(form.problem(["ports"])).toBe("Can't be 'x'. Write it so.");
  expect(form.problem(["port"])).toBe("");
  expect(pathText(["volumes", 0, "target"])).toBe("volumes[0].target");
});

test("a field writes while one types, keeps what is typed as it is, and its key's place while it is empty", async () => {
  const form = formOf(TEXT);
  render(FormField, { form, name: "stop_grace", path: ["stop_grace"] });
  const input = screen.getByLabelText<HTMLInputElement>("Time to stop");
  expect(input.value).toBe("10s");
  const type = async (text: string) => {
    input.value = text;
    input.dispatchEvent(new InputEvent("input", { bubbles: true }));
    await Promise.resolve();
  };
  await type("5");
  expect([form.at(["stop_grace"]), input.value]).toEqual([5, "5"]);
  await type("");
  expect([form.at(["stop_grace"]), input.value]).toEqual([5, ""]);
  input.dispatchEvent(new FocusEvent("blur"));
  expect(form.at(["stop_grace"])).toBeUndefined();
  form.draft.text = TEXT.replace("10s", "20s");
  await Promise.resolve();
  expect(input.value).toBe("20s");
});
