import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { LANGUAGES, chosen } from "./languages";
import { messages as en } from "./languages/en";
import type { Message, Messages } from "./types";

const messages = await Promise.all(
  Object.entries(LANGUAGES).map(async ([language, spoken]) => [language, await spoken.messages()] as const),
);
const keys = Object.keys(en) as (keyof typeof en)[];
const sources = readdirSync("src", { recursive: true, encoding: "utf8" })
  .filter((name) => /\.(svelte|ts)$/.test(name) && !name.endsWith(".test.ts") && !name.includes("i18n/languages/"))
  .map((name) => readFileSync(join("src", name), "utf8"));

function texts(message: Message): string[] {
  return typeof message === "string" ? [message] : Object.values(message);
}

function places(text: string): string {
  return [...new Set(text.match(/\{[a-z]+\}/g))].sort().join();
}

test.each(messages)("%s has each message of English, with the same places", (_, theirs: Messages) => {
  expect(Object.keys(theirs).sort()).toEqual([...keys].sort());
  for (const key of keys) {
    const wanted = places(texts(en[key]).at(-1) ?? "");
    for (const text of texts(theirs[key])) {
      expect(text.trim(), key).not.toBe("");
      expect(places(text), key).toBe(wanted);
    }
  }
});

test.each(messages)("%s has a text for each of its plural forms, and for no other", (language, theirs: Messages) => {
  const forms = new Intl.PluralRules(language).resolvedOptions().pluralCategories.sort();
  for (const key of keys) {
    const message = theirs[key];
    if (typeof message !== "string") expect(Object.keys(message).sort(), key).toEqual(forms);
  }
});

test("each message is used", () => {
  const named = new Set(
    sources.flatMap((source) => [...source.matchAll(/["`]([a-z_]+(?:\.[a-z_]+)+)["`]/g)].map((found) => found[1])),
  );
  const begun = sources.flatMap((source) =>
    [...source.matchAll(/`([a-z_]+\.(?:[a-z_]+\.)*)\$\{/g)].map((found) => found[1] ?? ""),
  );
  expect(keys.filter((key) => !named.has(key) && !begun.some((start) => key.startsWith(start)))).toEqual([]);
});

test("nothing from outside becomes markup", () => {
  expect(sources.filter((source) => /\{@html|innerHTML|insertAdjacentHTML|document\.write/.test(source))).toEqual([]);
});

test("the first language that there is, as browsers list them, is spoken", () => {
  expect(chosen(["de-DE", "ru-RU", "en"])).toBe("ru");
  expect(chosen(["", "de"])).toBe("en");
});
