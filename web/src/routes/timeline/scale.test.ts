import { expect, test } from "vitest";
import { clusters, showing, ticks, type View, whole, within, x, zoomed } from "./scale";

const MINUTE = 60_000;
const DAY = 86_400_000;
const now = Date.UTC(2026, 10, 26, 12);
const all: View = { from: now - 100 * DAY, to: now };

test("nearer by two shows half as much, and the moment that is looked at stays where it is", () => {
  const at = now - 30 * DAY;
  const view = zoomed(all, 2, at, all);
  expect(view.to - view.from).toBeCloseTo(50 * DAY);
  expect(x(at, view, 1000)).toBeCloseTo(x(at, all, 1000));
});

test("nothing is shown but what there is, and never less than ten seconds", () => {
  expect(zoomed(all, 0.1, now, all)).toEqual(all);
  const nearest = zoomed(all, 1e12, now, all);
  expect(nearest.to - nearest.from).toBe(10_000);
  expect(within({ from: now - DAY, to: now + DAY }, all)).toEqual({ from: now - 2 * DAY, to: now });
  expect(whole(now, now).to - whole(now, now).from).toBeGreaterThan(MINUTE);
});

test("what is chosen comes into sight, and what is in sight moves nothing", () => {
  const view = { from: now - DAY, to: now };
  expect(showing(view, now - DAY / 2, all)).toBe(view);
  const moved = showing(view, now - 10 * DAY, all);
  expect(moved.from).toBeLessThan(now - 10 * DAY);
  expect(moved.to - moved.from).toBeCloseTo(DAY);
});

test.each([10_000, 5 * MINUTE, 3 * 3_600_000, DAY, 30 * DAY, 3000 * DAY])(
  "the moments of an axis of %d ms are round, and apart",
  (length) => {
    const view = { from: now - length, to: now };
    const found = ticks(view, 1000, 96);
    expect(found.ticks.length).toBeGreaterThan(1);
    expect(found.ticks.length).toBeLessThanOrEqual(11);
    const steps = found.ticks.slice(1).map((tick, index) => tick.at - found.ticks[index]!.at);
    for (const step of steps) expect(Math.abs(step - found.step)).toBeLessThanOrEqual(3_600_000); // clocks change
  },
);

test("three points are three, three thousand are as many as there is room for, and none is lost", () => {
  const few = [1, 50, 99].map((day) => ({ at: all.from + day * DAY }));
  expect(clusters(few, all, 1000).length).toBe(3);
  const many = Array.from({ length: 3000 }, (_, index) => ({ at: all.from + (index * 100 * DAY) / 3000 }));
  const found = clusters(many, all, 1000);
  expect(found.length).toBeLessThanOrEqual(1000 / 25 + 3);
  expect(found.flatMap((each) => each.items)).toEqual(many);
  for (const [index, each] of found.slice(1).entries()) expect(each.x - found[index]!.x).toBeGreaterThanOrEqual(25);
});

test("what is out of sight is no part of what is shown", () => {
  const view = { from: now - DAY, to: now };
  expect(clusters([{ at: now - 50 * DAY }, { at: now - DAY / 2 }], view, 1000).length).toBe(1);
});
