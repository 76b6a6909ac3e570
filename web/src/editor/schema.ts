/** What a JSON Schema says of a place in a document: which keys there are, which values, and in words what each is. */
import type { Path, Place } from "./place";

export interface Schema {
  $ref?: string;
  $defs?: Record<string, Schema>;
  anyOf?: Schema[];
  oneOf?: Schema[];
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  items?: Schema;
  required?: string[];
  minimum?: number;
  maximum?: number;
  maxLength?: number;
  description?: string;
  examples?: unknown[];
  default?: unknown;
}

export interface Suggestion {
  label: string;
  kind: "key" | "value";
  /** What is put in: with a key what its value begins with. */
  insert: string;
  detail: string;
  words: string;
}

function resolved(schema: Schema, root: Schema): Schema {
  const name = schema.$ref?.replace("#/$defs/", "");
  const target = name === undefined ? undefined : root.$defs?.[name];
  if (!target) return schema;
  // what is said beside a reference holds of this place
  const { $ref: _, ...beside } = schema;
  return resolved({ ...target, ...beside }, root);
}

/** Each way in which something may be written. */
function variants(schema: Schema, root: Schema): Schema[] {
  const here = resolved(schema, root);
  const among = here.anyOf ?? here.oneOf;
  if (!among) return [here];
  return among.flatMap((each) => variants(each, root)).filter((each) => each.type !== "null");
}

/** What may stand at a path. */
export function at(root: Schema, path: Path): Schema[] {
  let found = variants(root, root);
  for (const part of path) {
    found = found.flatMap((schema) => {
      const below =
        typeof part === "number"
          ? schema.items
          : (schema.properties?.[part] ??
            (typeof schema.additionalProperties === "object" ? schema.additionalProperties : undefined));
      return below ? variants(below, root) : [];
    });
  }
  return found;
}

function typeOf(schemas: readonly Schema[]): string {
  const types = schemas.flatMap((schema) => schema.type ?? []);
  return [...new Set(types)].join(" | ");
}

/** What a key's value begins with. */
function opening(schemas: readonly Schema[], column: string): string {
  const types = new Set(schemas.flatMap((schema) => schema.type ?? []));
  if (types.has("string") || types.has("number") || types.has("integer") || types.has("boolean")) return ": ";
  if (types.has("object")) return `:\n${column}  `;
  if (types.has("array")) return `:\n${column}  - `;
  return ": ";
}

/** What can be written at a place. `indent` is the white space before keys of the same mapping. */
export function suggestions(root: Schema, place: Place, indent: string): Suggestion[] {
  const here = at(root, place.key === null ? place.parent : [...place.parent, place.key]);
  const values = here.flatMap((schema) => [
    ...(schema.enum ?? (schema.const === undefined ? [] : [schema.const])),
    ...(schema.type === "boolean" ? [true, false] : []),
  ]);
  const found: Suggestion[] = values.map((value) => ({
    label: String(value),
    kind: "value",
    insert: String(value),
    detail: "",
    words: "",
  }));
  if (place.key !== null) return found;
  for (const schema of here) {
    for (const [key, below] of Object.entries(schema.properties ?? {})) {
      if (place.beside.has(key)) continue;
      const ways = variants(below, root);
      found.push({
        label: key,
        kind: "key",
        insert: key + opening(ways, indent),
        detail: schema.required?.includes(key) ? `${typeOf(ways)} *` : typeOf(ways),
        words: described(below, root),
      });
    }
  }
  return found.filter((each, index) => found.findIndex((other) => other.label === each.label) === index);
}

/** What something is, in the schema's words. */
function described(schema: Schema, root: Schema): string {
  const here = resolved(schema, root);
  const words = here.description ?? variants(here, root).find((each) => each.description)?.description ?? "";
  return words.replaceAll("\n", " ").replaceAll("`", "");
}

/** What the key at a path is, in the schema's words; empty where it says nothing. */
export function explained(root: Schema, parent: Path, key: string): string {
  for (const schema of at(root, parent)) {
    const below = schema.properties?.[key];
    if (below) return described(below, root);
  }
  return "";
}
