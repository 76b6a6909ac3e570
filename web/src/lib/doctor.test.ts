import { expect, test } from "vitest";
import { i18n } from "../i18n/index.svelte";
import { checkWords } from "./doctor";

test("what doctor looked at is told in the reader's language, with its place; of a check that has no words its name", async () => {
  await i18n.speak("ru");
  expect(checkWords("clock")).toBe("Часы");
  expect(checkWords("space /srv/my data")).toBe("Свободное место /srv/my data");
  expect(checkWords("gremlins /srv")).toBe("gremlins /srv");
});
