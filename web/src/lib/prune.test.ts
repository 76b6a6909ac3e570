import { expect, test } from "vitest";
import { prunePlanOf } from "./prune";

const judged = (workload: string, taken_at: string, deleted: boolean) => ({
  id: taken_at,
  workload,
  taken_at,
  deleted,
});

test("what goes is told by workload, and what stays is not", () => {
  const plan = prunePlanOf({
    snapshots: [
      judged("notes", "c", false),
      judged("notes", "b", true),
      judged("wiki", "b", true),
      judged("notes", "a", true),
    ],
    freed_bytes: 2048,
    postponed_packs: 0,
    postponed_why: "",
  });
  expect(plan.goes).toEqual([
    ["notes", ["b", "a"]],
    ["wiki", ["b"]],
  ]);
  expect(plan).toMatchObject({ count: 3, freedBytes: 2048, postponed: null });
});

test("a repository that only takes copies judges no snapshots; writing anew may take more than is freed", () => {
  const plan = prunePlanOf({ freed_bytes: -12, postponed_packs: 2, postponed_why: "a copy is under way" }); // of an earlier version
  expect(plan).toEqual({ goes: [], count: 0, freedBytes: 0, postponed: { code: "", message: "a copy is under way" } });
});
