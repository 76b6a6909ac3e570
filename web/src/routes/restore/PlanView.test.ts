import { cleanup, render, screen } from "@testing-library/svelte";
import { afterEach, beforeAll, expect, test } from "vitest";
import { i18n } from "../../i18n/index.svelte";
import type { Plan, PlannedVolume } from "../../lib/restore";
import PlanView from "./PlanView.svelte";

const NOTHING: PlannedVolume["changes"]["added"] = { count: 0, bytes: 0, paths: [] };

function volume(target: string, removed = NOTHING): PlannedVolume {
  return {
    target,
    path: "",
    restoredFiles: 1,
    restoredBytes: 1,
    changes: { added: NOTHING, changed: NOTHING, removed },
  };
}

function show(volumes: PlannedVolume[]): void {
  const plan: Plan = {
    volumes,
    liveBytes: 1,
    lastDowntime: null,
    stops: [],
    image: "notes:1",
    takenWith: null,
    onUnhealthy: "revert",
    warnings: [],
    paths: [],
  };
  render(PlanView, { plan, of: "restore" });
}

beforeAll(() => i18n.speak("en"));
afterEach(cleanup);

test("what changes isn't to be searched among many volumes that don't", () => {
  const gone = { count: 1, bytes: 5, paths: ["lost.txt"] };
  show([volume("/a"), volume("/b"), volume("/data", gone), volume("/c")]);
  expect(screen.getAllByRole("region").map((each) => each.getAttribute("aria-label"))).toEqual(["/data"]);
  const others = screen.getByText("Nothing changes in 3 volumes").parentElement;
  expect(others?.textContent).toContain("/b");
});

test("a few are told one by one", () => {
  show([volume("/a"), volume("/b")]);
  expect(screen.getAllByText("Nothing changes here.")).toHaveLength(2);
});
