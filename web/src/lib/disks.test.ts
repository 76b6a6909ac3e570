import { expect, test } from "vitest";
import { pressing } from "./disks";

const NOW = Date.parse("2026-11-26T12:00:00Z");
const disk = (free_bytes: number, full_at: string | null = null) => ({
  total_bytes: 1000,
  free_bytes,
  forecast: full_at === null ? null : { full_at },
});

test("a disk with room is well, also while nobody can tell when it is full", () => {
  expect(pressing(disk(500), NOW)).toBe("good");
  expect(pressing(disk(500, "2027-11-26T12:00:00Z"), NOW)).toBe("good");
});

test("one that is full within two weeks needs somebody, however much is free", () => {
  expect(pressing(disk(500, "2026-12-09T12:00:00Z"), NOW)).toBe("warn");
});

test("one that is nearly full needs somebody, at once at the last", () => {
  expect(pressing(disk(99), NOW)).toBe("warn");
  expect(pressing(disk(49), NOW)).toBe("bad");
});
