/**
 * What the form shows of a declaration: the common things. Which values each may have, and which it has if nothing is
 * said, is read from the schema.
 */
import type { Path } from "../place";
import { at, type Schema } from "../schema";

export const GROUPS = {
  naming: ["name", "project"],
  service: ["source.image", "domains", "ports"],
  data: ["volumes"],
  variables: ["env", "secrets"],
  health: ["health.type", "health.port", "health.path", "health.command", "health.deadline"],
  snapshots: [
    "snapshots.schedule",
    "snapshots.quiesce",
    "snapshots.before_deploy",
    "snapshots.keep.last",
    "snapshots.keep.daily",
    "snapshots.keep.weekly",
    "snapshots.keep.monthly",
  ],
  updates: ["updates.schedule", "updates.tags"],
  running: ["restart", "stop_grace", "strategy", "max_instances", "resources.memory", "resources.cpus"],
} as const;

export type Group = keyof typeof GROUPS;

/** What the form shows of each item of a list of mappings. */
export const ITEMS = {
  volumes: ["volumes.target", "volumes.scope", "volumes.source", "volumes.size", "volumes.read_only"],
} as const;

export type FieldName = (typeof GROUPS)[Group][number] | (typeof ITEMS)[keyof typeof ITEMS][number];

/** What has a place only beside certain values of another key: which of them. */
const BESIDE: Readonly<Partial<Record<FieldName, readonly [key: string, values: readonly unknown[]]>>> = {
  "source.image": ["type", ["image"]],
  "health.port": ["type", ["http", "tcp"]],
  "health.path": ["type", ["http"]],
  "health.command": ["type", ["command"]],
  "volumes.source": ["scope", ["absolute", "stage", "project", "named", "project_named"]],
  "volumes.size": ["scope", ["ephemeral"]],
};

export type Kind = "choice" | "flag" | "number" | "text" | "texts" | "named" | "rows";

export interface Field {
  kind: Kind;
  options: readonly string[];
  min: number | undefined;
  max: number | undefined;
  maxLength: number | undefined;
  required: boolean;
  /** Whether a number is written as one, and not as a text. */
  numbers: boolean;
  /** The value where nothing is said; empty where that is nothing, too. */
  usual: string;
  example: string;
}

/** What a value at a path is like. */
export function fieldOf(root: Schema, path: Path): Field {
  const key = path.at(-1)!;
  const above = at(root, path.slice(0, -1));
  const own = above.map((schema) => (typeof key === "number" ? schema.items : schema.properties?.[key])).find(Boolean);
  const ways = at(root, path);
  const find = <K extends keyof Schema>(name: K) => ways.find((way) => way[name] !== undefined)?.[name];
  const types = new Set(ways.flatMap((way) => way.type ?? []));
  const options = (find("enum") ?? []).map(String);
  const items = find("items");
  const kind = kindOf(types, options, items !== undefined && at(root, [...path, 0]).some((way) => way.properties));
  const below = items ? at(root, [...path, 0]) : ways;
  const numeric = (type: string) => type === "number" || type === "integer";
  const usual = own?.default ?? find("default");
  const examples = own?.examples ?? below.flatMap((way) => way.examples ?? []);
  return {
    kind,
    options,
    min: find("minimum"),
    max: find("maximum"),
    maxLength: find("maxLength"),
    required: above.some((schema) => schema.required?.includes(String(key))),
    numbers: below.some((way) => [way.type ?? []].flat().some(numeric)),
    usual:
      typeof usual === "object"
        ? ""
        : typeof usual === "number" && types.has("string")
          ? `${usual}s`
          : `${usual ?? ""}`,
    example: examples.length > 0 && typeof examples[0] !== "object" ? String(examples[0]) : "",
  };
}

function kindOf(types: ReadonlySet<string>, options: readonly string[], mappings: boolean): Kind {
  if (options.length > 0) return "choice";
  if (types.has("boolean")) return "flag";
  if (types.has("array")) return mappings ? "rows" : "texts";
  if (types.has("object")) return "named";
  return types.has("string") ? "text" : "number";
}

/** Whether something has a place beside the others: it isn't shown otherwise, unless it is there. */
export function hasPlace(
  name: FieldName,
  beside: Readonly<Record<string, unknown>>,
  root: Schema,
  path: Path,
): boolean {
  const [key, values] = BESIDE[name] ?? [];
  if (key === undefined || values === undefined) return true;
  return values.includes(beside[key] ?? fieldOf(root, [...path.slice(0, -1), key]).usual);
}

/** The fields that stand beside one and depend on it. */
export function dependants(name: FieldName): readonly FieldName[] {
  const parts = name.split(".");
  const key = parts.pop();
  const start = `${parts.join(".")}.`;
  return (Object.keys(BESIDE) as FieldName[]).filter((each) => each.startsWith(start) && BESIDE[each]?.[0] === key);
}

/** A typed text as the value that is written; `undefined` for nothing. */
export function valueOf(field: Field, typed: string): unknown {
  const one = (text: string) => (field.numbers && /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text);
  if (field.kind === "texts") {
    const lines = typed.split("\n").map((line) => line.trim());
    const values = lines.filter(Boolean).map(one);
    return values.length > 0 ? values : undefined;
  }
  const text = typed.trim();
  return text === "" ? undefined : one(text);
}

/** A value as the text that is typed for it. */
export function typedOf(value: unknown): string {
  if (Array.isArray(value)) return value.map(String).join("\n");
  return value === undefined || value === null || typeof value === "object"
    ? ""
    : `${value as string | number | boolean}`;
}

/** A path as the server writes it: `volumes[0].target`. */
export function pathText(path: Path): string {
  return path.reduce<string>(
    (text, part) => (typeof part === "number" ? `${text}[${part}]` : text ? `${text}.${part}` : part),
    "",
  );
}

/** What is below a place in a document. */
export function valueAt(document: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, part) =>
      typeof value === "object" && value !== null ? (value as Record<string | number, unknown>)[part] : undefined,
    document,
  );
}
