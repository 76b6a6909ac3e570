import { expect, test } from "vitest";
import type { SnapshotView } from "../api/client";
import { noteOf } from "./workloads";

const noted = (reason: SnapshotView["reason"], note: string) => noteOf({ reason, note } as SnapshotView);

test("what a person noted of a snapshot is told; what the server notes of its own ones only says the reason again", () => {
  expect(noted("manual", "before the spring cleaning")).toBe("before the spring cleaning");
  expect(noted("imported", "from the old server")).toBe("from the old server");
  expect(noted("safety", "before restoring 01m8dc3dv61zm9343nsqzw4zqn")).toBe("");
  expect(noted("before_deploy", "before the deployment of notes:1.5")).toBe("");
});
