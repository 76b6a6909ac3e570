import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { session } from "./session.svelte";

/** What was asked of the server, each with what answers it. */
let asked: ((status: number, document: unknown) => void)[];

class Silent extends EventTarget {
  close(): void {}
}

beforeEach(() => {
  asked = [];
  vi.stubGlobal("EventSource", Silent);
  vi.stubGlobal(
    "fetch",
    () =>
      new Promise<Response>((resolve) =>
        asked.push((status, document) => resolve(new Response(JSON.stringify(document), { status }))),
      ),
  );
});

afterEach(() => {
  session.over();
  vi.unstubAllGlobals();
});

test("an answer that comes after one that was asked for later changes nothing", async () => {
  const before = session.find();
  const after = session.find();
  asked[1]!(200, { name: "rob", role: "viewer", position: "here-1" });
  await after;
  asked[0]!(401, { error: { code: "session_over", message: "", next_step: "", details: {} } });
  await before;
  expect(session.caller?.name).toBe("rob");
  const over = session.find();
  asked[2]!(401, { error: { code: "session_over", message: "", next_step: "", details: {} } });
  await over;
  expect(session.caller).toBe(null);
});
