import { expect, test } from "vitest";
import { healthAt, type Held, heldOf, stretches } from "./health";

const VIEW = { from: 0, to: 1000 };

test("a state holds until the next one; before the first nothing is known", () => {
  const held = heldOf({
    since: "",
    until: "",
    items: [
      { at: "1970-01-01T00:00:01Z", state: "healthy" },
      { at: "1970-01-01T00:00:02Z", state: "down" },
    ],
  });
  expect([500, 1000, 1999, 2000, 9000].map((at) => healthAt(held, at))).toEqual([
    "unknown",
    "healthy",
    "healthy",
    "down",
    "down",
  ]);
});

test("the band shows what is in view, the last state until now", () => {
  const held: Held[] = [
    { at: -500, state: "stopped" },
    { at: -100, state: "healthy" },
    { at: 600, state: "unknown" },
  ];
  expect(stretches(held, 900, VIEW, 100)).toEqual([
    { state: "healthy", left: -8, width: 68 },
    { state: "unknown", left: 60, width: 30 },
  ]);
});

test("what was bad for a moment is wide enough to see, and drawn over the rest", () => {
  const held: Held[] = [
    { at: 0, state: "healthy" },
    { at: 500, state: "down" },
    { at: 501, state: "healthy" },
  ];
  const found = stretches(held, 1000, VIEW, 100);
  expect(found.at(-1)).toEqual({ state: "down", left: 50, width: 2 });
  expect(found.slice(0, -1)).toEqual([{ state: "healthy", left: 0, width: 100 }]);
});

test("thousands of changes come to no more than there are pixels", () => {
  const held = Array.from({ length: 3000 }, (_, index): Held => ({
    at: index / 3,
    state: index % 2 === 0 ? "healthy" : "unhealthy",
  }));
  const found = stretches(held, 1000, VIEW, 100);
  expect(found.length).toBeLessThan(100);
  expect(new Set(found.map((each) => each.state))).toEqual(new Set(["healthy", "unhealthy"]));
});
