import { expect, test } from "vitest";
import type { SnapshotView, StatusInBriefView } from "../api/client";
import { attentionFor, noteOf, versionsOf } from "./workloads";

const noted = (reason: SnapshotView["reason"], note: string) => noteOf({ reason, note } as SnapshotView);

test("what a person noted of a snapshot is told; what the server notes of its own ones only says the reason again", () => {
  expect(noted("manual", "before the spring cleaning")).toBe("before the spring cleaning");
  expect(noted("imported", "from the old server")).toBe("from the old server");
  expect(noted("safety", "before restoring 01m8dc3dv61zm9343nsqzw4zqn")).toBe("");
  expect(noted("before_deploy", "before the deployment of notes:1.5")).toBe("");
});

test("a workload needs somebody for how it is, for how it is reached, and for a deploy that failed and is still wanted", () => {
  const fine = { condition: "running", edge_problem: null, pending: false, deployed: {}, last_deployment: null };
  const of = (other: object) => attentionFor({ ...fine, ...other } as unknown as StatusInBriefView);
  const failed = { last_deployment: { state: "returned" } };
  expect(of({})).toBeNull();
  expect(of({ condition: "down", ...failed, pending: true })).toBe("condition.down");
  expect(of({ condition: "down", busy: "restore" })).toBeNull();
  expect(of({ edge_problem: "It doesn't answer." })).toBe("overview.edge_problem");
  expect(of({ ...failed, pending: true })).toBe("overview.deploy_failed");
  expect(of({ ...failed, pending: false })).toBeNull(); // it was taken out of the configuration
  expect(of({ ...failed, deployed: null, condition: "never_deployed" })).toBe("overview.deploy_failed");
  expect(of({ last_deployment: { state: "succeeded" }, pending: true })).toBeNull();
});

test("the version that is told is the one that runs, and another one that is only configured beside it", () => {
  expect(versionsOf({ image: "notes:2", deployed: { image: "notes:1" } })).toEqual({
    runs: "notes:1",
    configured: "notes:2",
  });
  expect(versionsOf({ image: "notes:2", deployed: { image: "notes:2" } }).configured).toBeNull();
  expect(versionsOf({ image: "notes:2", deployed: null })).toEqual({ runs: "notes:2", configured: null });
});
