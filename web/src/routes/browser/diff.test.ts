import { expect, test } from "vitest";
import { differences } from "./diff";

const whole = (text: string | null, cut = false) => ({ text, cut });

test("lines that came, went or stayed, with those around them and where that is", () => {
  const before = [..."abcdefgh"].join("\n");
  expect(differences(whole(before), whole(before.replace("f", "F\nG")))).toEqual([
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
  expect(differences(whole("\\ No newline\n"), whole("+x\n"))?.[0]?.lines).toEqual([
    { kind: "removed", text: "\\ No newline" },
    { kind: "added", text: "+x" },
  ]);
});

test("texts that are the same have no differences", () => {
  expect(differences(whole("a\n"), whole("a\n"))).toEqual([]);
});

test.each([
  ["what is no text", whole(null), whole("a")],
  ["a text that goes on", whole("a"), whole("a", true)],
])("nothing is told of %s", (_, before, after) => expect(differences(before, after)).toBeNull());
