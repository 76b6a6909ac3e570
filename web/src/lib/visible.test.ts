import { expect, test } from "vitest";
import { visible } from "./visible";

test("colours of terminals are left out", () => {
  expect(visible("\x1b[31mred\x1b[0m \x1b[38;5;200mpink\x1b[m \x1b]0;title\x07done\x1bM")).toBe("red pink done");
});

test("what one doesn't see is made visible, and what turns lines around", () => {
  expect(visible("a\bb\x00\x7f\x9b")).toBe("a␈b␀␡⟨U+009B⟩");
  expect(visible("exe.\u202egpj\u200b\u2066")).toBe("exe.⟨U+202E⟩gpj⟨U+200B⟩⟨U+2066⟩");
  expect(visible("\x1b")).toBe("␛");
  expect(visible("a\u00adb\u180e\u3164\u{e0041}c")).toBe("a⟨U+00AD⟩b⟨U+180E⟩⟨U+3164⟩⟨U+E0041⟩c");
});

test("ordinary text stays as it is, in every language", () => {
  const text = "tab\tздравствуйте 你好 👋 ✔\ufe0f <b>&amp;\nnext line";
  expect(visible(text)).toBe(text);
});
