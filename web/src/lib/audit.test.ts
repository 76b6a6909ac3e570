import { afterEach, expect, test } from "vitest";
import { i18n } from "../i18n/index.svelte";
import { actionName, actions } from "./audit";

afterEach(() => i18n.speak("en"));

test.each([
  ["en", "restore_snapshot", "Restore a snapshot"],
  ["en", "restore_ended", "Restore ended"],
  ["ru", "restore_snapshot", "Восстановление снимка"],
  ["ru", "prune_images_ended", "Очистка образов: завершение"],
  ["ru", "something_of_tomorrow", "something_of_tomorrow"],
  ["ru", "tomorrow_ended", "tomorrow_ended"],
])("in %s %s is called %s", async (language, action, name) => {
  await i18n.speak(language);
  expect(actionName(action)).toBe(name);
});

test.each([
  ["en", { code: "create_snapshot", name: "Take a snapshot" }, { code: "restore_ended", name: "Restore ended" }],
  [
    "ru",
    { code: "create_snapshot", name: "Создание снимка" },
    { code: "restore_ended", name: "Восстановление: завершение" },
  ],
])("all actions are told in %s, by their alphabet", async (language, request, end) => {
  await i18n.speak(language);
  const { requests, ends } = actions();
  expect(requests).toContainEqual(request);
  expect(ends).toContainEqual(end);
  const names = requests.map(({ name }) => name);
  expect(names).toEqual([...names].sort(new Intl.Collator(language).compare));
});
