/** The languages that there are. Another one is a file like `ru.ts`, and a line here. */
import type { Messages } from "./types";

export const LANGUAGES = {
  en: { name: "English", load: async (): Promise<Messages> => (await import("./en")).en },
  ru: { name: "Русский", load: async (): Promise<Messages> => (await import("./ru")).ru },
} as const;

export type Language = keyof typeof LANGUAGES;

/** The first of these languages that there is, as browsers list them; English otherwise. */
export function chosen(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const language = tag.toLowerCase().split("-")[0] ?? "";
    if (language in LANGUAGES) return language as Language;
  }
  return "en";
}
