import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { concerns, live, type Update } from "./live.svelte";

class Source extends EventTarget {
  static made: Source[] = [];
  closed = false;

  constructor(readonly url: URL) {
    super();
    Source.made.push(this);
  }

  close(): void {
    this.closed = true;
  }

  tell(...updates: Update[]): void {
    this.dispatchEvent(new MessageEvent("updates", { data: JSON.stringify({ updates }) }));
  }

  breakOff(): void {
    this.dispatchEvent(new Event("error"));
  }
}

const EVERYTHING: Update = { part: null, workload_id: null };
const last = () => Source.made.at(-1)!;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("EventSource", Source);
  Source.made = [];
  live.start();
});

afterEach(() => {
  live.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("who looks at one workload is told of it, of all together, and of no other", () => {
  const interest = { parts: ["snapshots"], workloadId: "a" } as const;
  const concern = (part: Update["part"], workload_id: string | null) => concerns({ part, workload_id }, interest);
  expect(concern("snapshots", "a")).toBe(true);
  expect(concern("snapshots", null)).toBe(true);
  expect(concern(null, "a")).toBe(true);
  expect(concern("snapshots", "b")).toBe(false);
  expect(concern("users", "a")).toBe(false);
});

test("each watcher is told once of what comes together, until it ends", () => {
  const tell = vi.fn();
  const end = live.watch(() => ({ parts: ["users"] }), tell);
  last().tell({ part: "users", workload_id: null }, EVERYTHING);
  expect(tell).toHaveBeenCalledTimes(1);
  end();
  last().tell(EVERYTHING);
  expect(tell).toHaveBeenCalledTimes(1);
});

test("a lost connection is made again, ever more seldom, and says so until word arrives", () => {
  last().tell(EVERYTHING);
  expect(live.connected).toBe(true);
  last().breakOff();
  expect(live.connected).toBe(false);
  for (const pause of [500, 1000, 2000, 4000, 8000, 10_000, 10_000]) {
    const before = Source.made.length;
    vi.advanceTimersByTime(pause - 1);
    expect(Source.made.length).toBe(before);
    vi.advanceTimersByTime(1);
    expect(Source.made.length).toBe(before + 1);
    last().breakOff();
  }
  vi.advanceTimersByTime(10_000);
  last().tell(EVERYTHING);
  expect(live.connected).toBe(true);
});

test("however often somebody signs in, a network that is back makes for one connection", () => {
  for (let times = 0; times < 3; times++) {
    live.stop();
    live.start();
  }
  const before = Source.made.length;
  dispatchEvent(new Event("online"));
  expect(Source.made.length).toBe(before + 1);
  expect(Source.made.filter((source) => !source.closed)).toEqual([last()]);
});

test("once nobody is signed in, nothing is connected again", () => {
  last().tell(EVERYTHING);
  last().breakOff();
  live.stop();
  vi.advanceTimersByTime(60_000);
  expect(Source.made.length).toBe(1);
  expect(last().closed).toBe(true);
  expect(live.connected).toBeUndefined();
});
