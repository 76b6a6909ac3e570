import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Hub, MOST_OPERATIONS, type EventName } from "./hub";

class Source extends EventTarget {
  static open: Source[] = [];

  constructor(readonly address: string) {
    super();
    Source.open.push(this);
  }

  close(): void {
    Source.open = Source.open.filter((each) => each !== this);
  }

  tell(name: EventName, document: unknown): void {
    this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(document) }));
  }

  breakOff(): void {
    this.dispatchEvent(new Event("error"));
  }
}

const EVERYTHING = { part: null, workload_id: null };
let hub: Hub;

/** Somebody who follows: what they are told, in order. */
function follower(address: string, name: EventName = "updates") {
  const told: unknown[] = [];
  const end = hub.follow(address, name, {
    told: (data) => told.push(JSON.parse(data)),
    broke: () => told.push("broke"),
    waits: () => told.push("waits"),
  });
  return { told, end };
}

const open = () => Source.open.map(({ address }) => address);

beforeEach(() => {
  vi.stubGlobal("EventSource", Source);
  Source.open = [];
  hub = new Hub();
});

afterEach(() => vi.unstubAllGlobals());

test("however many follow it, a stream takes one connection, until the last of them leaves", () => {
  const followers = Array.from({ length: 8 }, () => follower("updates"));
  expect(open()).toEqual(["updates"]);
  Source.open[0]!.tell("updates", { updates: [EVERYTHING], position: "1" });
  for (const { told } of followers) expect(told).toEqual([{ updates: [EVERYTHING], position: "1" }]);
  followers.slice(1).forEach(({ end }) => end());
  expect(open()).toEqual(["updates"]);
  followers[0]!.end();
  expect(open()).toEqual([]);
});

test("who comes later is told at once up to where word of changes stands, or how an operation does", () => {
  follower("updates");
  const one = { updates: [{ part: "users", workload_id: null }], position: "2" };
  Source.open[0]!.tell("updates", { updates: [EVERYTHING], position: "1" });
  Source.open[0]!.tell("updates", one);
  expect(follower("updates").told).toEqual([{ updates: [EVERYTHING], position: "2" }]);
  follower("o", "operation");
  Source.open[1]!.tell("operation", { state: "queued" });
  Source.open[1]!.tell("operation", { state: "running" });
  expect(follower("o", "operation").told).toEqual([{ state: "running" }]);
});

test("what breaks off is over for all who follow it, and made anew for who follows it again", () => {
  const [one, other] = [follower("updates"), follower("updates")];
  Source.open[0]!.breakOff();
  expect([one.told, other.told, open()]).toEqual([["broke"], ["broke"], []]);
  const again = follower("updates");
  one.end(); // of what is over already
  expect(open()).toEqual(["updates"]);
  hub.breakOff();
  expect([again.told, one.told, open()]).toEqual([["broke"], ["broke"], []]);
});

test("so many operations are followed at a time, and the next one once one of them ends", () => {
  const followers = Array.from({ length: MOST_OPERATIONS + 2 }, (_, number) => follower(`o${number}`, "operation"));
  follower("updates");
  expect(open()).toEqual(["o0", "o1", "o2", "updates"]);
  expect(followers.map(({ told }) => told)).toEqual([[], [], [], ["waits"], ["waits"]]);
  followers[0]!.end();
  followers[4]!.end();
  expect(open()).toEqual(["o1", "o2", "updates", "o3"]);
  Source.open[3]!.tell("operation", { state: "running" });
  expect(followers[3]!.told).toEqual(["waits", { state: "running" }]);
});
