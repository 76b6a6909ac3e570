import { cleanup, fireEvent, render, screen } from "@testing-library/svelte";
import { afterEach, beforeAll, expect, test, vi } from "vitest";
import type { SnapshotView } from "../../api/client";
import { i18n } from "../../i18n/index.svelte";
import type { SnapshotAction } from "./actions";
import SnapshotDialogs from "./SnapshotDialogs.svelte";

const snapshot = {
  id: "01k0000000000000000000000",
  created_at: "2026-05-04T03:02:01.000000Z",
  volumes: [],
  bytes: 1,
  files: 1,
} as unknown as SnapshotView;
const asked: Request[] = [];

beforeAll(() => i18n.speak("en"));

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  asked.length = 0;
});

function show(action: SnapshotAction | undefined) {
  vi.stubGlobal("EventSource", EventTarget);
  vi.stubGlobal("fetch", (request: Request) => {
    asked.push(request);
    return Promise.resolve(Response.json({ error: { code: "drill_running", message: "One runs." } }, { status: 409 }));
  });
  const props = { workload: { id: "w", name: "notes" }, snapshot, asked: action, onclose: vi.fn() };
  return { props, ...render(SnapshotDialogs, props) };
}

test("just the dialog that is asked for is there, and none once it is closed", async () => {
  const { props, rerender } = show(undefined);
  expect(document.querySelectorAll("dialog").length).toBe(0);
  expect(asked).toEqual([]);
  for (const action of ["verify", "pin", "delete", "export"] as const) {
    await rerender({ ...props, asked: action });
    expect(document.querySelectorAll("dialog").length).toBe(1);
    await rerender({ ...props, asked: undefined });
    expect(document.querySelectorAll("dialog").length).toBe(0);
  }
  expect(asked).toEqual([]);
});

test("a drill that is asked for again after a failure is the same one for the server", async () => {
  show("drill");
  const button = screen.getByRole("button", { name: "Start the drill" });
  for (const times of [1, 2]) {
    await fireEvent.click(button);
    await vi.waitFor(() => expect(asked.length).toBe(times));
    await screen.findByRole("alert");
  }
  const [first, second] = asked.map((request) => request.headers.get("Idempotency-Key"));
  expect(first).toMatch(/^[0-9a-f]{32}$/);
  expect(second).toBe(first);
});
