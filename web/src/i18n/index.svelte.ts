/** Words, numbers, times and sizes in the language of who reads them. `t("key", {place: value})` is a message. */
import { kept, keep } from "../lib/kept";
import { patiently } from "../lib/patience";
import { Format } from "./format";
import { chosen, LANGUAGES } from "./languages";
import type { ErrorWords, Given, Key, Message, Messages } from "./types";

export type { Key, PlainKey } from "./types";

class I18n {
  language = $state(chosen([kept("language") ?? "", ...navigator.languages]));
  #messages = $state.raw<Messages>();
  #errors = $state.raw<{ language: string; words: ErrorWords }>();
  /** The words of errors that were asked for. */
  #asked: { language: string; words: Promise<void> } | undefined;
  format = $derived(new Format(this.language, this.text("common.sizes")));

  /** Speak a language from now on. The first time before anything is shown. */
  async speak(language: string = this.language): Promise<void> {
    const messages = await patiently(LANGUAGES[language]!.messages);
    if (language !== this.language) keep("language", language);
    this.#messages = messages;
    this.language = language;
    document.documentElement.lang = language;
  }

  /** The words for what the server tells, by its code; none where its own are in this language, or until they are loaded. */
  refusal(code: string): ErrorWords[string] | undefined {
    if (this.#errors?.language === this.language)
      return Object.hasOwn(this.#errors.words, code) ? this.#errors.words[code] : undefined;
    void this.words();
    return undefined;
  }

  /** Loads the words for what the server tells. */
  words(): Promise<void> {
    const { language } = this;
    if (this.#asked?.language !== language) {
      const words = LANGUAGES[language]!.errors().then(
        (words) => void (this.#errors = { language, words }),
        () => void (this.#asked = undefined), // without them, the kind of refusal is told
      );
      this.#asked = { language, words };
    }
    return this.#asked.words;
  }

  text<K extends Key>(key: K, values?: Readonly<Record<string, string | number>>): string {
    const message: Messages[Key] | undefined = this.#messages?.[key];
    return message === undefined ? "" : this.fill(message, values);
  }

  /** How the keys go on that begin so. */
  below(start: string): string[] {
    const keys = Object.keys(this.#messages ?? {});
    return keys.filter((key) => key.startsWith(start)).map((key) => key.slice(start.length));
  }

  /** A message with what stands at its places. */
  fill(message: Message, values?: Readonly<Record<string, string | number>>): string {
    const count = Number(values?.["count"]);
    const text = typeof message === "string" ? message : (message[this.format.plural(count)] ?? message.other);
    return text.replace(/\{([a-z_]+)\}/g, (_, place: string) => {
      const value = values?.[place] ?? "";
      return typeof value === "number" ? this.format.number(value) : value;
    });
  }
}

export const i18n = new I18n();

/** A message. */
export function t<K extends Key>(key: K, ...values: Given<K>): string {
  return i18n.text(key, values[0]);
}
