import { expect, test } from "vitest";
import { words } from "./command";

test.each([
  ["", []],
  ["  true ", ["true"]],
  [`sqlite3 /data/notes.db "pragma integrity_check"`, ["sqlite3", "/data/notes.db", "pragma integrity_check"]],
  [`sh -c 'echo "$HOME" \\n'`, ["sh", "-c", `echo "$HOME" \\n`]],
  [`a\\ b c"d e"f ''`, ["a b", "cd ef", ""]],
  [`"say \\"no\\" to C:\\temp"`, [`say "no" to C:\\temp`]],
])("%s is split as a shell would", (text, expected) => {
  expect(words(text)).toEqual(expected);
});

test.each([`sqlite3 "pragma`, "don't", "true \\"])("%s is no command: something is not closed", (text) => {
  expect(words(text)).toBeNull();
});
