import { expect, test } from "vitest";
import { rowsInSight, scrolledTo } from "./virtual";

test("of a hundred thousand rows there are those in sight and a few more", () => {
  expect(rowsInSight(0, 360, 36, 100_000, 8)).toEqual({ first: 0, end: 18 });
  expect(rowsInSight(1_800_000, 360, 36, 100_000, 8)).toEqual({ first: 49_992, end: 50_018 });
  expect(rowsInSight(3_600_000 - 360, 360, 36, 100_000, 8)).toEqual({ first: 99_982, end: 100_000 });
});

test("there are no rows but those of the list, wherever it was scrolled to before it became shorter", () => {
  expect(rowsInSight(9000, 360, 36, 3)).toEqual({ first: 3, end: 3 });
  expect(rowsInSight(0, 360, 36, 0)).toEqual({ first: 0, end: 0 });
});

test("a row is brought into sight with as little scrolling as possible", () => {
  expect(scrolledTo(5, 0, 360, 36)).toBe(0);
  expect(scrolledTo(10, 0, 360, 36)).toBe(36);
  expect(scrolledTo(2, 360, 360, 36)).toBe(72);
});
