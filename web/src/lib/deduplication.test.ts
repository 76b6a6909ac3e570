import { expect, test } from "vitest";
import { deduplication } from "./deduplication";

test("what is stored is compared with what the snapshots hold", () => {
  expect(deduplication({ bytes: 1000, stored: 400 })).toBe(2.5);
  expect(deduplication({ bytes: 1000, stored: 1000 })).toBe(1);
});

test("where nothing is saved yet, there is no ratio to tell", () => {
  expect(deduplication({ bytes: 0, stored: 0 })).toBeNull();
  expect(deduplication({ bytes: 4, stored: 900 })).toBeNull();
});
