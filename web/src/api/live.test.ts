import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { CallerView } from "./client";
import { concerns, live, type Update } from "./live.svelte";

class Source extends EventTarget {
  static made: Source[] = [];
  closed = false;

  constructor(readonly url: string) {
    super();
    Source.made.push(this);
  }

  close(): void {
    this.closed = true;
  }

  /** Word of changes, each of which leads to another position. */
  tell(...updates: Update[]): void {
    this.begin(`here-${++position}`, ...updates);
  }

  begin(position: string, ...updates: Update[]): void {
    this.dispatchEvent(new MessageEvent("updates", { data: JSON.stringify({ updates, position }) }));
  }

  breakOff(): void {
    this.dispatchEvent(new Event("error"));
  }
}

const EVERYTHING: Update = { part: null, workload_id: null };
const ANN = { name: "ann", position: "here-0" } as CallerView;
const last = () => Source.made.at(-1)!;
const ask = vi.fn(() => Promise.resolve());
let position = 0;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("EventSource", Source);
  Source.made = [];
  ask.mockReset().mockResolvedValue();
  live.start(ANN, ask);
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

test("who connects is told everywhere to look again, unless nothing changed since they were told", async () => {
  const tell = vi.fn();
  const end = live.watch(() => ({ parts: ["users"] }), tell);
  last().begin("here-0", EVERYTHING);
  expect(live.connected).toBe(true);
  expect(tell, "all that is shown was asked for since").not.toHaveBeenCalled();
  last().begin("here-1", { part: "users", workload_id: null });
  expect(tell).toHaveBeenCalledTimes(1);
  for (const [position, times] of [
    ["here-1", 1],
    ["here-2", 2],
    ["anew-0", 3],
  ] as const) {
    last().breakOff();
    await vi.advanceTimersByTimeAsync(500);
    last().begin(position, EVERYTHING);
    expect([position, tell.mock.calls.length]).toEqual([position, times]);
  }
  end();
});

test("what changes between the first answer and the first word of changes is not missed", () => {
  const tell = vi.fn();
  const end = live.watch(() => ({ parts: ["users"] }), tell);
  last().begin("here-1", EVERYTHING);
  expect(tell).toHaveBeenCalledTimes(1);
  end();
});

test("before a lost connection is made again it is asked who is signed in", async () => {
  expect(last().url).toContain("api/events?user=ann");
  ask.mockRejectedValueOnce(new Error("no answer"));
  ask.mockImplementationOnce(() => {
    live.stop();
    return Promise.resolve();
  });
  last().breakOff();
  await vi.advanceTimersByTimeAsync(500);
  expect([ask.mock.calls.length, Source.made.length]).toEqual([1, 1]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect([ask.mock.calls.length, Source.made.length], "nobody is any more").toEqual([2, 1]);
});

test("a lost connection is made again, ever more seldom, and says so until word arrives", async () => {
  last().tell(EVERYTHING);
  expect(live.connected).toBe(true);
  last().breakOff();
  expect(live.connected).toBe(false);
  for (const pause of [500, 1000, 2000, 4000, 8000, 10_000, 10_000]) {
    const before = Source.made.length;
    await vi.advanceTimersByTimeAsync(pause - 1);
    expect(Source.made.length).toBe(before);
    await vi.advanceTimersByTimeAsync(1);
    expect(Source.made.length).toBe(before + 1);
    last().breakOff();
  }
  await vi.advanceTimersByTimeAsync(10_000);
  last().tell(EVERYTHING);
  expect(live.connected).toBe(true);
});

test("however often somebody signs in, a network that is back makes for one connection", () => {
  for (let times = 0; times < 3; times++) {
    live.stop();
    live.start(ANN, ask);
  }
  const before = Source.made.length;
  dispatchEvent(new Event("online"));
  expect(Source.made.length).toBe(before + 1);
  expect(Source.made.filter((source) => !source.closed)).toEqual([last()]);
});

test("once nobody is signed in, nothing is connected again", async () => {
  last().tell(EVERYTHING);
  last().breakOff();
  live.stop();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(Source.made.length).toBe(1);
  expect(last().closed).toBe(true);
  expect(live.connected).toBeUndefined();
});
