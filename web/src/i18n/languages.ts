/** The languages that there are. Another one is two files like `ru.ts` and `ru_errors.ts`, and a line here. */
import type { ErrorWords, Messages } from "./types";

interface Spoken {
  name: string;
  load: () => Promise<Messages>;
  /** The refusals of the server, whose own words are English; loaded with the first that is met. */
  errors?: () => Promise<ErrorWords>;
}

const SPOKEN = {
  en: { name: "English", load: async () => (await import("./en")).en },
  ru: {
    name: "Русский",
    load: async () => (await import("./ru")).ru,
    errors: async () => (await import("./ru_errors")).errors,
  },
} as const satisfies Record<string, Spoken>;

export type Language = keyof typeof SPOKEN;

export const LANGUAGES: Readonly<Record<Language, Spoken>> = SPOKEN;

/** The first of these languages that there is, as browsers list them; English otherwise. */
export function chosen(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const language = tag.toLowerCase().split("-")[0] ?? "";
    if (language in LANGUAGES) return language as Language;
  }
  return "en";
}
