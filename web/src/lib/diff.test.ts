import { expect, test } from "vitest";
import { differences, MOST_LINES } from "./diff";

test("lines that came, went or stayed, with those around them and where that is", () => {
  const before = [..."abcdefgh"].join("\n");
  expect(differences(before, before.replace("f", "F\nG"))).toEqual([
    {
      line: 3,
      lines: [
        { kind: "same", text: "c" },
        { kind: "same", text: "d" },
        { kind: "same", text: "e" },
        { kind: "removed", text: "f" },
        { kind: "added", text: "F" },
        { kind: "added", text: "G" },
        { kind: "same", text: "g" },
        { kind: "same", text: "h" },
      ],
    },
  ]);
});

test("a line that looks like a sign of a difference is text", () => {
  expect(differences("\\ No newline\n", "+x\n")?.[0]?.lines).toEqual([
    { kind: "removed", text: "\\ No newline" },
    { kind: "added", text: "+x" },
  ]);
});

test("texts that are the same have no differences", () => {
  expect(differences("a\n", "a\n")).toEqual([]);
});

test("more than anybody reads is not shown", () => {
  expect(differences("", "\n".repeat(MOST_LINES - 1))).not.toBeNull();
  expect(differences("", "\n".repeat(MOST_LINES + 2))).toBeNull();
});
