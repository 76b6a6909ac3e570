import { afterEach, beforeEach, expect, test, vi } from "vitest";

/** A worker that another window may have started, too; it speaks when the test says so. */
class Worker extends EventTarget {
  static made: Worker[] = [];
  port = {
    onmessage: (_event: { data: unknown }): void => {},
    postMessage: vi.fn(),
    close: vi.fn(),
  };

  constructor() {
    super();
    Worker.made.push(this);
  }

  speak(): void {
    this.port.onmessage({ data: { worker: "its name" } });
  }
}

class Source extends EventTarget {
  static made = 0;

  constructor() {
    super();
    Source.made++;
  }

  close(): void {}
}

let follow: () => void;
let ends: (() => void)[];
let instances = 0;
const listener = { told: vi.fn(), broke: vi.fn() };

beforeEach(async () => {
  vi.useFakeTimers();
  vi.stubGlobal("SharedWorker", Worker);
  vi.stubGlobal("EventSource", Source);
  Object.defineProperty(navigator, "locks", { value: { request: () => new Promise(() => {}) }, configurable: true });
  Worker.made = [];
  Source.made = 0;
  listener.broke.mockReset();
  // each test has what no other test, of whatever file, has used up
  const fresh = (await import(/* @vite-ignore */ `./streams.ts?${++instances}`)) as typeof import("./streams");
  ends = [];
  follow = () => ends.push(fresh.follow("api/events", "updates", listener));
});

afterEach(() => {
  for (const end of ends) end();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  delete (navigator as { locks?: unknown }).locks;
});

test("a worker that says nothing is tried anew, with ever more patience, before a window has connections of its own", () => {
  for (const [tried, patience] of [10_000, 20_000, 40_000].entries()) {
    follow();
    vi.advanceTimersByTime(patience - 1);
    expect([Worker.made.length, listener.broke.mock.calls.length]).toEqual([tried + 1, tried]);
    vi.advanceTimersByTime(1);
    expect(listener.broke).toHaveBeenCalledTimes(tried + 1);
  }
  expect(Source.made).toBe(0);
  follow();
  expect([Worker.made.length, Source.made]).toEqual([3, 1]);
});

test("one that speaks, however late, is what all is followed by", () => {
  follow();
  vi.advanceTimersByTime(10_000);
  follow();
  vi.advanceTimersByTime(19_999);
  Worker.made[1]!.speak();
  vi.advanceTimersByTime(60_000);
  follow();
  expect([Worker.made.length, Source.made, listener.broke.mock.calls.length]).toEqual([2, 0, 1]);
});
