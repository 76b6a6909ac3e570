import { flushSync } from "svelte";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { gradually } from "./gradually.svelte";

beforeEach(() => void vi.useFakeTimers({ toFake: ["requestAnimationFrame", "cancelAnimationFrame"] }));
afterEach(() => void vi.useRealTimers());

test("what is to be seen at once is there at once, the rest frame by frame, in its order, and then nothing goes on", () => {
  const thousand = Array.from({ length: 1000 }, (_, index) => index);
  let all = $state.raw<number[]>();
  let seen: readonly number[] = [];
  const stop = $effect.root(() => {
    const rows = gradually(() => all);
    $effect(() => void (seen = rows.shown));
  });
  flushSync();
  expect(seen).toEqual([]);

  all = thousand;
  flushSync();
  expect(seen.length).toBeGreaterThan(20);
  expect(seen.length).toBeLessThan(100);
  const before = seen.length;
  vi.advanceTimersToNextFrame();
  flushSync();
  expect(seen.length).toBeGreaterThan(before);
  for (let frame = 0; frame < 200; frame++) {
    vi.advanceTimersToNextFrame();
    flushSync();
  }
  expect(seen).toEqual(thousand);
  expect(vi.getTimerCount()).toBe(0);

  // what comes later comes first in its list, and is there at once
  all = [-1, ...thousand];
  flushSync();
  expect(seen[0]).toBe(-1);
  stop();
});
