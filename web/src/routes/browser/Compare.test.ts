import { cleanup, fireEvent, render, screen } from "@testing-library/svelte";
import { afterEach, beforeAll, expect, test, vi } from "vitest";
import type { SnapshotView } from "../../api/client";
import { i18n } from "../../i18n/index.svelte";
import Compare from "./Compare.svelte";

const OLD = "01k0000000000000000000000";
const NEW = "01k0000000000000000000001";
const nothing = { count: 0, bytes: 0, first: [] };
/** As the server tells of `odd \xff\n name`. */
const changed = { count: 1, bytes: 5, first: [["odd \\xff\\n name", 5, "b2RkIP8KIG5hbWU"]] };
const outcome = { volumes: [{ target: "/data", added: nothing, removed: nothing, changed }] };

class Source extends EventTarget {
  constructor(address: string) {
    super();
    const operation = { id: "o", state: "succeeded", outcome, steps: [], log: [] };
    if (address.includes("/operations/"))
      queueMicrotask(() => this.dispatchEvent(new MessageEvent("operation", { data: JSON.stringify(operation) })));
  }

  close(): void {}
}

beforeAll(() => i18n.speak("en"));

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

test("the text of a file is asked for by its exact path, whatever its name looks like", async () => {
  const snapshot = (id: string) =>
    ({ id, created_at: "2026-05-04T03:02:01.000000Z", reason: "manual" }) as unknown as SnapshotView;
  const asked: URL[] = [];
  vi.stubGlobal("EventSource", Source);
  vi.stubGlobal("fetch", (request: Request | URL) => {
    const address = new URL(request instanceof Request ? request.url : request);
    asked.push(address);
    if (address.pathname.endsWith("/content")) return Promise.resolve(new Response("a line\n"));
    if (address.pathname.endsWith("/compare")) return Promise.resolve(Response.json({ id: "o" }, { status: 202 }));
    return Promise.resolve(Response.json({ items: [snapshot(NEW)], next_cursor: null }));
  });
  render(Compare, { workload: "w", snapshot: snapshot(OLD) });
  await fireEvent.click(screen.getByRole("button", { name: "Compare …" }));
  const against = await screen.findByLabelText<HTMLSelectElement>("Compared with");
  await vi.waitFor(() => expect(against.options.length).toBe(2));
  // which option is `:checked` the pretended browser can't tell
  against.querySelector = () => against.options[1]!;
  await fireEvent.change(against);
  await fireEvent.click(await screen.findByRole("button", { name: /^odd/, hidden: true }));
  const contents = () => asked.filter((address) => address.pathname.endsWith("/content"));
  await vi.waitFor(() => expect(contents().length).toBe(2));
  for (const [index, id] of [OLD, NEW].entries()) {
    const { pathname, searchParams } = contents()[index]!;
    expect(pathname).toContain(id);
    expect(Object.fromEntries(searchParams)).toEqual({ volume: "/data", path: "b2RkIP8KIG5hbWU", encoded: "true" });
  }
});
