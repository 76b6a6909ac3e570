import { afterEach, expect, test } from "vitest";
import { i18n } from "../i18n/index.svelte";
import { actionName } from "./audit";

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
