import { expect, test } from "vitest";
import { before, partsOf } from "./paths";

const encoded = (text: string) => Buffer.from(text).toString("base64url");

test("a path is told part by part, each by which it is asked for", () => {
  expect(partsOf(encoded("docs/über/x.txt"))).toEqual([
    { name: "docs", path: encoded("docs") },
    { name: "über", path: encoded("docs/über") },
    { name: "x.txt", path: encoded("docs/über/x.txt") },
  ]);
  expect(partsOf("")).toEqual([]);
  expect(partsOf("%%%")).toEqual([]);
});

test("names that are no text, or pretend to be another, are shown as what they are", () => {
  const raw = Buffer.from([0x61, 0xff, 0x2f, 0x1b, 0x62]).toString("base64url");
  expect(partsOf(raw).map((part) => part.name)).toEqual(["a\ufffd", "␛b"]);
  expect(partsOf(encoded("x\u202ey"))[0]?.name).toBe("x⟨U+202E⟩y");
});

test("a list that begins at a name has it first, and nothing that comes before it", () => {
  const after = Buffer.from(before("file_5"), "base64url");
  const is = (name: string) => Buffer.compare(Buffer.from(name), after) > 0;
  expect([is("file_5"), is("file_50"), is("file_6"), is("file_4zz"), is("file_"), is("файл")]).toEqual([
    true,
    true,
    true,
    false,
    false,
    true,
  ]);
  expect(before("")).toBe("");
});
