/** Each class of refusals that can be met, in both languages: in words, with what to do next, where it was asked. */
import { readFileSync } from "node:fs";
import { cleanup, fireEvent, render, screen } from "@testing-library/svelte";
import { createRawSnippet } from "svelte";
import { afterEach, expect, test, vi } from "vitest";
import { ApiError, Unreachable } from "../api/errors";
import { session } from "../api/session.svelte";
import { i18n } from "../i18n/index.svelte";
import { LANGUAGES } from "../i18n/languages";
import SignIn from "../routes/sign-in/SignIn.svelte";
import ConfirmDialog from "./ConfirmDialog.svelte";
import View from "./View.svelte";

const page = readFileSync("../docs/reference/errors.md", "utf8");
const languages = Object.keys(LANGUAGES);
const children = createRawSnippet(() => ({ render: () => "<p>What is asked.</p>" }));

/** By class what the server says, as it is documented. */
const REFUSALS = {
  "something else at work": [409, "workload_busy"],
  "another restore": [409, "restore_in_flight"],
  "as things stand": [409, "workload_exists"],
  "not confirmed": [428, "confirmation_missing"],
  "another name confirmed": [422, "confirmation_mismatch"],
  "the role": [403, "role_insufficient"],
  "nobody signed in": [401, "token_missing"],
  gone: [404, "snapshot_unknown"],
  "too large": [413, "body_too_large"],
  malformed: [400, "path_malformed"],
  "signed in too often": [429, "sign_in_too_often"],
  "the engine away": [503, "engine_unavailable"],
  "the server ending": [503, "draining"],
  "no space": [507, "no_space_bytes"],
  "a defect": [500, "internal_error"],
} as const;

afterEach(async () => {
  cleanup();
  vi.unstubAllGlobals();
  session.caller = null;
  await i18n.speak("en");
});

function documented(code: string): { message: string; nextStep: string } {
  const row = new RegExp(`^\\| \`${code}\` \\| (.+) \\| (.+) \\|$`, "m").exec(page);
  expect(row, `${code} is documented`).not.toBeNull();
  return { message: row![1]!, nextStep: row![2]! };
}

/** As the server would answer. */
function refusal(status: number, code: string): ApiError {
  const { message, nextStep } = documented(code);
  return new ApiError(status, code, message, nextStep, {});
}

/** A proxy's page. */
function proxied(status: number): ApiError {
  return ApiError.of(new Response(null, { status, statusText: "As proxies say" }), undefined);
}

async function speak(language: string): Promise<void> {
  await i18n.speak(language);
  i18n.refusal("cancelled"); // loads its words
  await vi.waitFor(() => expect(language === "en" || i18n.refusal("cancelled")).toBeTruthy());
}

/** What a person reads of it: paragraphs in the language that is spoken, the first of which says what happened. */
function read(language: string): string[] {
  const alert = screen.getByRole("alert");
  const own = [...alert.querySelectorAll("p, strong, h3")].filter((each) => !each.querySelector("code, p"));
  const words = own.filter((each) => each.getAttribute("lang") !== "en").map((each) => each.textContent.trim());
  for (const sentence of words) expect(sentence, sentence).toMatch(language === "en" ? /[a-z]{3}/ : /[а-яё]{3}/i);
  return words;
}

async function inDialog(error: unknown): Promise<void> {
  const onconfirm = () => Promise.reject(error as Error);
  const props = { title: "Delete", open: true, confirm: "Delete", onconfirm, onclose: () => {}, children };
  render(ConfirmDialog, props);
  await fireEvent.submit(document.querySelector("form")!);
  await screen.findByRole("alert");
  expect(screen.getByRole("alert").closest("dialog")).not.toBeNull();
}

const cases = languages.flatMap((language) =>
  Object.entries(REFUSALS).map(([name, [status, code]]) => [language, name, status, code] as const),
);

test.each(cases)("%s: %s is told in the dialog that asked, with what to do next", async (language, _, status, code) => {
  await speak(language);
  await inDialog(refusal(status, code));
  const words = read(language);
  expect(words.length, words.join("\n")).toBeGreaterThanOrEqual(2);
  expect(screen.getByRole("alert").textContent).toContain(code);
});

test.each(cases)("%s: %s is told on the page that can't show anything", async (language, _, status, code) => {
  await speak(language);
  const of = { value: undefined, error: refusal(status, code), loading: false, refresh: vi.fn() };
  render(View, { of: of as never, children });
  expect(read(language).length).toBeGreaterThanOrEqual(2);
});

test.each(languages.flatMap((language) => [413, 500, 502, 503, 504].map((status) => [language, status] as const)))(
  "%s: what a proxy answers instead (%i) is told in words, too",
  async (language, status) => {
    await speak(language);
    await inDialog(proxied(status));
    const words = read(language);
    expect(words.length, words.join("\n")).toBeGreaterThanOrEqual(2);
    expect(words[0]).not.toContain("proxies say");
  },
);

test.each(languages)("%s: a lost answer says that trying again does nothing twice", async (language) => {
  await speak(language);
  await inDialog(new Unreachable("gone"));
  read(language);
  const dialog = document.querySelector("dialog")!;
  expect(dialog.textContent).toContain(
    language === "en" ? "the same thing is not done twice" : "второй раз то же самое не выполнится",
  );
});

test("a session that is over is mended from where that is told; a wrong password isn't", async () => {
  await speak("en");
  session.caller = { name: "ann", role: "admin" } as typeof session.caller;
  await inDialog(refusal(401, "token_missing"));
  await fireEvent.click(screen.getByRole("button", { name: "Sign in" }));
  expect(session.caller).toBeNull();
  expect(screen.queryByRole("button", { name: "Sign in" })).toBeNull();
});

test.each(languages)("%s: who tries to sign in too often is told above the fields to wait", async (language) => {
  await speak(language);
  const { message, nextStep } = documented("sign_in_too_often");
  const error = { code: "sign_in_too_often", message, next_step: nextStep, details: {} };
  vi.stubGlobal("fetch", () => Promise.resolve(Response.json({ error }, { status: 429 })));
  render(SignIn);
  const [name, password] = [...document.querySelectorAll("input")] as [HTMLInputElement, HTMLInputElement];
  await fireEvent.input(name, { target: { value: "ann" } });
  await fireEvent.input(password, { target: { value: "wrong" } });
  await fireEvent.submit(document.querySelector("form")!);
  await screen.findByRole("alert");
  expect(read(language).length).toBeGreaterThanOrEqual(2);
  expect([name.value, password.value]).toEqual(["ann", ""]);
});
