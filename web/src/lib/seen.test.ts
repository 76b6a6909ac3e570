import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { whileSeen } from "./seen";

function show(shown: boolean): void {
  vi.spyOn(document, "hidden", "get").mockReturnValue(!shown);
  document.dispatchEvent(new Event("visibilitychange"));
}

beforeEach(() => void vi.useFakeTimers());

afterEach(() => {
  show(true);
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test("what nobody sees any more ends after a while, and begins again once it is seen", () => {
  const log: string[] = [];
  const end = whileSeen(() => {
    log.push("begin");
    return () => void log.push("end");
  });
  show(false);
  vi.advanceTimersByTime(9_000);
  show(true);
  vi.advanceTimersByTime(60_000);
  expect(log, "nobody is disturbed by a glance at another window").toEqual(["begin"]);
  show(false);
  vi.advanceTimersByTime(10_000);
  expect(log).toEqual(["begin", "end"]);
  show(true);
  end();
  expect(log).toEqual(["begin", "end", "begin", "end"]);
  show(false);
  vi.advanceTimersByTime(10_000);
  show(true);
  expect(log.length).toBe(4);
});

test("what is begun where nobody looks on begins once somebody does", () => {
  show(false);
  vi.advanceTimersByTime(10_000);
  const begin = vi.fn(() => () => {});
  const end = whileSeen(begin);
  expect(begin).not.toHaveBeenCalled();
  show(true);
  expect(begin).toHaveBeenCalledTimes(1);
  end();
});
