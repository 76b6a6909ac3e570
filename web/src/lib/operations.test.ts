import { expect, test } from "vitest";
import type { OperationView } from "../api/client";
import { failedStep } from "./operations";

const ended = (state: string, names: string[], code?: string) =>
  failedStep({
    state,
    steps: names.map((name) => ({ name })),
    error: code ? { code } : null,
    finished_at: state === "running" ? null : "2026-11-27T12:00:00Z",
  } as OperationView);

test("an operation fails at its last step", () => {
  expect(ended("failed", ["resolving", "pulling"], "registry_unreachable")).toBe(1);
  expect(ended("cancelled", ["resolving"])).toBe(0);
  expect(ended("succeeded", ["resolving", "pulling"])).toBeNull();
  expect(ended("running", ["resolving", "pulling"])).toBeNull();
});

test("a deploy that returned to what ran before failed before that, unless the return failed as well", () => {
  expect(ended("failed", ["starting", "gating", "returning"], "deploy_unhealthy")).toBe(1);
  expect(ended("failed", ["starting", "gating", "returning"], "deploy_return_failed")).toBe(2);
});
