import { cleanup, fireEvent, render, screen } from "@testing-library/svelte";
import { afterEach, beforeAll, expect, test, vi } from "vitest";
import { i18n } from "../../i18n/index.svelte";
import Unsettled from "./Unsettled.svelte";

const TOLD = "Whether a restore waits for a decision can't be told now.";

beforeAll(() => i18n.speak("en"));

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

test("what can't be read is told in words, and looked for again", async () => {
  const refused = { error: { code: "engine_unavailable", message: "No answer.", next_step: "Start it." } };
  let answer = Response.json(refused, { status: 503 });
  vi.stubGlobal("EventSource", EventTarget);
  vi.stubGlobal("fetch", () => Promise.resolve(answer.clone()));
  render(Unsettled, { workload: { id: "w", name: "notes" } });
  const alert = await screen.findByRole("alert");
  for (const words of [TOLD, "No answer.", "Start it.", "engine_unavailable"])
    expect(alert.textContent).toContain(words);

  answer = Response.json({ pending: null, kept_trees: [] });
  await fireEvent.click(screen.getByRole("button", { name: "Try again" }));
  await vi.waitFor(() => expect(screen.queryByRole("alert")).toBeNull());
});
