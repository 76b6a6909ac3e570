import { readFileSync } from "node:fs";
import { afterEach, expect, test, vi } from "vitest";
import { ApiError } from "../api/errors";
import { explain, tell } from "./errors";
import { i18n } from "./index.svelte";
import { LANGUAGES } from "./languages";
import type { ErrorWords } from "./types";

/** Told on the host alone: by the command line, and before or while the server starts. */
const ON_THE_HOST = new Set(
  `access_key_missing address_unavailable admin_token_unwritable answer_unreadable audit_damaged audit_head_malformed
  audit_line_malformed backup_unnamed connection_lost data_dir_empty data_dir_foreign data_dir_missing
  data_dir_not_empty data_dir_shared database_missing docker_host_malformed duration_invalid engine_not_visible
  file_exists file_not_written file_too_large file_unreadable file_unwritable key_file_damaged key_file_malformed
  key_file_newer no_snapshots output_ambiguous output_missing output_not_readable passphrase_missing
  passphrase_not_text path_differs_for_engine repository_key_differs secret_missing server_not_trusted
  server_unreachable setting_invalid setting_unknown settings_unreadable since_invalid snapshot_missing
  snapshot_not_damaged state_restore_unreadable step_invalid tls_certificate_unusable token_unreadable
  upgrade_copy_failed upgrade_failed url_invalid username_missing`.split(/\s+/),
);

/** Each documented code, and whether the server tells what to do next. */
const documented = new Map<string, boolean>();
for (const row of readFileSync("../docs/reference/errors.md", "utf8").matchAll(/^\| `([a-z0-9_]+)` \|.*\| (.+) \|$/gm))
  documented.set(row[1]!, documented.get(row[1]!) || row[2] !== "–");

const spoken = await Promise.all(
  Object.entries(LANGUAGES).map(async ([language, { errors }]): Promise<[string, ErrorWords]> => [
    language,
    await errors(),
  ]),
);
const translated = spoken.filter(([language]) => language !== "en");

afterEach(() => i18n.speak("en"));

/** An error of the server, told in a language whose words are there. */
async function toldIn(language: string, code: string, status = 409): Promise<ReturnType<typeof explain>> {
  await i18n.speak(language);
  const error = new ApiError(status, code, "It says which.", "Do this.", {});
  explain(error);
  await vi.waitFor(() => expect(language === "en" || i18n.refusal("cancelled")).toBeTruthy());
  return explain(error);
}

test.each(translated)(
  "%s has words for just the refusals that the server documents and the interface can meet",
  (_, words) => {
    const wanted = [...documented.keys()].filter((code) => !ON_THE_HOST.has(code));
    expect(wanted.length).toBeGreaterThan(300);
    expect(Object.keys(words).sort()).toEqual(wanted.sort());
    expect([...ON_THE_HOST].filter((code) => !documented.has(code))).toEqual([]);
  },
);

test.each(translated)(
  "%s tells what to do next wherever the server does, and only there, in whole sentences",
  (_, words) => {
    for (const [code, [what, nextStep]] of Object.entries(words)) {
      expect(nextStep !== undefined, code).toBe(documented.get(code));
      for (const text of [what, nextStep ?? "."]) expect(text, code).toMatch(/[.?]\)?$/);
    }
  },
);

test("in English the server's own words are told", async () => {
  expect(await toldIn("en", "workload_exists")).toMatchObject({
    title: "It says which.",
    nextStep: "Do this.",
    original: "",
  });
});

test("in another language a sentence of its own is told, and the server's words stay beside it", async () => {
  expect(await toldIn("ru", "workload_exists")).toMatchObject({
    title: "Сервис с таким именем уже есть.",
    nextStep: "Выберите другое имя или примените конфигурацию к существующему.",
    original: "It says which. Do this.",
  });
});

test("what has no words of its own is told by its kind, and a reason by the server's words", async () => {
  expect(await toldIn("ru", "of_a_plugin")).toMatchObject({
    title: "Сейчас это сделать нельзя.",
    nextStep: "",
    original: "It says which. Do this.",
  });
  expect(tell({ code: "of_a_plugin", message: "It says which.", next_step: "" })).toEqual({
    what: "",
    nextStep: "",
    original: "It says which.",
  });
});
