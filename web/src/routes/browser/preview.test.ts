import { expect, test } from "vitest";
import { textOf } from "./preview";

const bytes = (text: string) => new TextEncoder().encode(text);

test("text is text, also where it was cut within a letter", () => {
  expect(textOf(bytes("<script>alert(1)</script> привет"), false)).toBe("<script>alert(1)</script> привет");
  expect(textOf(bytes("привет").subarray(0, 5), true)).toBe("пр");
});

test("what is no text isn't shown as one", () => {
  expect(textOf(bytes("a\0b"), false)).toBeNull();
  expect(textOf(Uint8Array.from([0x89, 0x50, 0x4e, 0x47]), false)).toBeNull();
  expect(textOf(bytes("привет").subarray(0, 5), false)).toBeNull();
});
