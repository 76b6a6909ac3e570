import { expect, test } from "vitest";
import { nearest, runs, steps } from "./chart";

test("a scale begins at zero, is round, and reaches the largest", () => {
  expect(steps(0, false)).toEqual([0, 1]);
  expect(steps(3.7, false)).toEqual([0, 1, 2, 3, 4]);
  expect(steps(0.012, false).at(-1)).toBeCloseTo(0.0125);
  expect(steps(300 * 2 ** 20, true)).toEqual([0, 128, 256, 384].map((each) => each * 2 ** 20));
  for (const largest of [1e-3, 0.5, 1, 1.01, 9.99, 10, 1234, 2 ** 30, 3e12])
    for (const binary of [false, true]) {
      const found = steps(largest, binary);
      expect(found.length).toBeGreaterThanOrEqual(3);
      expect(found.length).toBeLessThanOrEqual(6);
      expect(found.at(-1)).toBeGreaterThanOrEqual(largest * 0.999);
    }
});

test("where nothing ran there is a gap, and not a line", () => {
  const at = (minute: number) => ({ at: minute * 60_000, value: minute });
  expect(runs([1, 2, 3, 9, 10].map(at), 60_000).map((run) => run.length)).toEqual([3, 2]);
  expect(runs([], 60_000)).toEqual([]);
});

test("one is told of the point that is nearest", () => {
  const points = [0, 10, 20].map((each) => ({ at: each, value: each }));
  expect([nearest(points, 4)?.at, nearest(points, 16)?.at, nearest([], 1)]).toEqual([0, 20, null]);
});
