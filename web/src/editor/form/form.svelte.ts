/** A declaration as a form sees it: what its text says, place by place, and the text with other values in it. */
import { record } from "../../api/errors";
import { tell } from "../../i18n/errors";
import type { Draft } from "../draft.svelte";
import type { Path } from "../place";
import type { TextProblem } from "../problems";
import type { Schema } from "../schema";
import { dependants, type FieldName, hasPlace, pathText, valueAt } from "./fields";

export class Form {
  /** What the text says; `undefined` while that can't be told. */
  readonly document = $derived.by(() => this.yaml.read(this.draft.text));
  /** What a choice left no place for, by its path: it comes back with the choice, for as long as the form is there. */
  readonly #aside = new Map<string, unknown>();

  constructor(
    readonly draft: Draft,
    readonly schema: Schema,
    private readonly yaml: typeof import("../yaml"),
  ) {}

  at(path: Path): unknown {
    return valueAt(this.document, path);
  }

  /** Write another value; `undefined` for none. What has no place beside it any more goes, and is kept aside. */
  set(name: FieldName, path: Path, value: unknown): void {
    const above = path.slice(0, -1);
    let text = this.yaml.changed(this.draft.text, path, value);
    for (const other of dependants(name)) {
      const place = [...above, other.split(".").at(-1)!];
      const document = this.yaml.read(text);
      const there = valueAt(document, place);
      const fits = hasPlace(other, record(valueAt(document, above)), this.schema, place);
      const key = pathText(place);
      if (there !== undefined && !fits) {
        this.#aside.set(key, there);
        text = this.yaml.changed(text, place, undefined);
      } else if (there === undefined && fits && this.#aside.has(key)) {
        text = this.yaml.changed(text, place, this.#aside.get(key));
        this.#aside.delete(key);
      }
    }
    if (value === undefined && typeof path.at(-1) === "number") this.#forget(above);
    this.draft.text = text;
  }

  /** An item of a list is gone: those after it have other numbers now. */
  #forget(list: Path): void {
    for (const key of [...this.#aside.keys()]) if (key.startsWith(`${pathText(list)}[`)) this.#aside.delete(key);
  }

  shows(name: FieldName, path: Path): boolean {
    return this.at(path) !== undefined || hasPlace(name, record(this.at(path.slice(0, -1))), this.schema, path);
  }

  /** What is wrong at a place, or below it, in words; empty where nothing is. */
  problem(path: Path): string {
    const place = pathText(path);
    const here = this.draft.problems.filter(
      (problem) =>
        problem.path === place || problem.path.startsWith(`${place}.`) || problem.path.startsWith(`${place}[`),
    );
    return here
      .map((problem) => {
        const { what, nextStep, original } = tell({ ...problem, message: withoutPath(problem) });
        return `${what || original} ${nextStep}`.trim();
      })
      .join(" ");
  }
}

/** The server's words begin with the place, which the field says itself. */
function withoutPath({ message, path }: TextProblem): string {
  if (!path || !message.startsWith(`${path} `)) return message;
  const rest = message.slice(path.length + 1);
  return `${rest.charAt(0).toUpperCase()}${rest.slice(1)}`;
}
