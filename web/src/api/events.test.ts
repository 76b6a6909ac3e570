import { expect, test } from "vitest";
import { parsed } from "./events";

test("events are read as they come, however they are cut", () => {
  const wire = ': ping\n\nevent: log\ndata: {"a":1}\nid: 1\n\nevent: log\ndata: {"a":2}\nid: 2\n\n';
  for (let cut = 0; cut <= wire.length; cut++) {
    const first = parsed(wire.slice(0, cut));
    const second = parsed(first.rest + wire.slice(cut));
    expect([...first.events, ...second.events].map((event) => [event.name, event.data])).toEqual([
      ["log", '{"a":1}'],
      ["log", '{"a":2}'],
    ]);
    expect(second.rest).toBe("");
  }
});
