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

const ROW = /^\| `([a-z0-9_]+)` \| (.*) \| (.+) \|$/gm;
const [refused = "", told = ""] = readFileSync("../docs/reference/errors.md", "utf8").split("## Told");
/** What is told besides refusals, with its English words. */
const sentences = new Map([...told.matchAll(ROW)].map(([, code, what, next]) => [code!, [what!, next!] as const]));
/** Each documented code, and whether the server tells what to do next. */
const documented = new Map<string, boolean>();
for (const [, code, , next] of [...refused.matchAll(ROW), ...told.matchAll(ROW)])
  documented.set(code!, documented.get(code!) || next !== "–");

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
      const whole = sentences.has(code) ? [nextStep ?? "."] : [what, nextStep ?? "."];
      for (const text of whole) expect(text, code).toMatch(/[.?]\)?$/);
    }
  },
);

test("a refusal for one reason tells it once, and one for several each of them", () => {
  const problem = (message: string) => ({ code: "port_in_use", message, next_step: "Free it." });
  const refused = (message: string, ...reasons: string[]) =>
    explain(new ApiError(422, "port_in_use", message, "Free it.", { problems: reasons.map(problem) }));
  expect(refused("It is taken.", "It is taken.").problems).toEqual([]);
  expect(refused("It can't be deployed.", "It is taken.").problems).toHaveLength(1);
  expect(refused("2 problems", "It is taken.", "So is that.").problems).toHaveLength(2);
});

test("what is told besides refusals has codes of its own", () => {
  expect(sentences.size).toBeGreaterThan(40);
  const both = [...refused.matchAll(ROW)].filter(([, code]) => sentences.has(code!));
  expect(both.map(([, code]) => code)).toEqual([]);
});

function places(text: string): string[] {
  return [...new Set(text.match(/\{[a-z_]+\}/g))].sort();
}

test.each(translated)("%s has the places of what is told besides refusals, and its plural forms", (language, words) => {
  const forms = new Intl.PluralRules(language).resolvedOptions().pluralCategories.sort();
  for (const [code, [english, englishNext]] of sentences) {
    const [what = "", nextStep = ""] = words[code] ?? [];
    if (typeof what !== "string") expect(Object.keys(what).sort(), code).toEqual(forms);
    for (const text of typeof what === "string" ? [what] : Object.values(what))
      expect(places(text), code).toEqual(places(english));
    expect(places(englishNext), code).toEqual(expect.arrayContaining(places(nextStep)));
  }
});

test.each(translated)("%s names nothing of a refusal that the server doesn't tell by name", (_, words) => {
  for (const [, code, english] of refused.matchAll(ROW))
    expect(places(english!), code).toEqual(expect.arrayContaining(places(String(words[code!]?.[0] ?? ""))));
});

test("what was recorded without what stands at its places is told in the server's words", async () => {
  await i18n.speak("ru");
  await i18n.words();
  const busy = { code: "workload_busy", message: "The workload is busy: restore 1.", next_step: "Wait." };
  expect(tell(busy)).toEqual({
    what: "",
    nextStep: "Дождитесь окончания и повторите.",
    original: "The workload is busy: restore 1. Wait.",
  });
  const holder = { code: "a_restore", message: "restore 1", values: { id: "1" } };
  const told = explain(new ApiError(409, busy.code, busy.message, busy.next_step, {}, { holder }));
  expect(told).toMatchObject({ title: "С этим сервисом сейчас работает: восстановление 1.", original: "" });
  await i18n.speak("en");
});

test("what stands at the places of a sentence is written as the language does", async () => {
  await i18n.speak("ru");
  await i18n.words();
  const more = { code: "and_more", message: "b and 2 more", values: { last: "b", count: 2 } };
  const free = { code: "space_free_bytes", message: "1.5 MiB free", values: { bytes: 1_572_864 } };
  expect(tell({ code: "doctor_space_enough", message: "1.5 MiB free.", values: { free } }).what).toBe(
    "Свободно 1,5 МиБ.",
  );
  expect(
    tell({
      code: "doctor_snapshots_damaged",
      message: "4 of 21 snapshots are damaged: a, b and 2 more.",
      next_step: "Check.",
      values: { count: 4, total: 21, snapshots: ["a", more] },
    }),
  ).toMatchObject({ what: "Повреждены 4 из 21 снимков: a, b и ещё 2.", original: "" });
  const at = "2026-11-26T20:06:00.000000Z";
  expect(tell({ code: "doctor_clock_right", message: "The clock says.", values: { now: at } }).what).toBe(
    `На часах ${i18n.format.time(at)}.`,
  );
});

test("the server's words stay beside a sentence that tells of a refusal, or of what has no words", async () => {
  await i18n.speak("ru");
  await i18n.words();
  const values = (why: object) => ({ workload: "notes", restore: "r1", why, step: "Look." });
  const sentence = { code: "restore_left_something", message: "Notes: it is there. Full.", next_step: "Look." };
  expect(tell({ ...sentence, values: values({ code: "cancelled", message: "Full." }) })).toEqual({
    what: "notes: то, что осталось от восстановления r1, ещё не удалено. Операция отменена.",
    nextStep: "Устраните причину.",
    original: "Notes: it is there. Full. Look.",
  });
  expect(tell({ ...sentence, values: values({ code: "of_a_plugin", message: "Full." }) }).original).not.toBe("");
});

test("what others named is told as it stands, whatever it looks like", async () => {
  await i18n.speak("ru");
  await i18n.words();
  const other = (tag: unknown) =>
    tell({ code: "hook_other_tag", message: "Another one.", values: { tag, wanted: "{tag} {wanted}" } }).what;
  for (const tag of ["2026-99-99T99.99Z", "2026-11-27T10Z", "2026-99-99T99:99:99.000000Z"])
    expect(other(tag)).toContain(tag);
  expect(other("a")).toContain("{tag} {wanted}");
  expect(other("a\u202eb")).toContain("a⟨U+202E⟩b");
  expect(other({ code: "", message: "a\u202eb" })).toContain("a⟨U+202E⟩b");
  for (const code of ["constructor", "__proto__", "toString"])
    expect(tell({ code, message: "It says which." })).toEqual({ what: "", nextStep: "", original: "It says which." });
});

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

test("of an operation that failed nobody says that nothing was changed but the server", async () => {
  await i18n.speak("ru");
  await i18n.words();
  const failed = explain(new ApiError(422, "of_a_plugin", "It ran on the data.", "", {}), "Не удалось.");
  expect(failed).toMatchObject({ title: "Не удалось.", what: "", original: "It ran on the data." });
});
