/** The languages that there are: the files in `languages/`. Another one is another file, named by its tag. */
import type { ErrorWords, Messages } from "./types";

interface Spoken {
  /** What its speakers call it. */
  name: string;
  messages: () => Promise<Messages>;
  /** The refusals of the server, as much again as all messages; loaded with the first that is met. */
  errors: () => Promise<ErrorWords>;
}

// what is loaded later is asked for as another module, so that the build makes two of each file
const messages = import.meta.glob<Messages>("./languages/*.ts", { import: "messages" });
const errors = import.meta.glob<ErrorWords>("./languages/*.ts", { import: "errors", query: "?errors" });

export const LANGUAGES: Readonly<Record<string, Spoken>> = Object.fromEntries(
  Object.keys(messages).map((path) => {
    const tag = path.replace(/^.*\/|\.ts$/g, "");
    return [tag, { name: named(tag), messages: messages[path]!, errors: errors[path]! }];
  }),
);

function named(tag: string): string {
  const name = new Intl.DisplayNames(tag, { type: "language" }).of(tag) ?? tag;
  return name.charAt(0).toLocaleUpperCase(tag) + name.slice(1);
}

/** The first of these languages that there is, as browsers list them; English otherwise. */
export function chosen(wanted: readonly string[]): string {
  const tags = wanted.flatMap((tag) => [tag, tag.split("-")[0] ?? ""]);
  return tags.find((tag) => Object.hasOwn(LANGUAGES, tag)) ?? "en";
}
