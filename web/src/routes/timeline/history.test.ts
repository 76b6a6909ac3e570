import { expect, test } from "vitest";
import type { DeploymentView, OperationView, SnapshotView } from "../../api/client";
import { history, next, pointAt, ranAt, spans } from "./history";

const at = (minute: number) => new Date(Date.UTC(2026, 10, 26, 12, minute)).toISOString();
const ms = (minute: number) => Date.parse(at(minute));
const deployment = (id: string, minute: number, state = "succeeded", image = id) =>
  ({
    id,
    state,
    started_at: at(minute),
    finished_at: at(minute + 1),
    image_id: image,
    config_hash: "",
  }) as DeploymentView;
const snapshot = (id: string, minute: number) =>
  ({ id, created_at: at(minute), damaged: [] as string[] }) as SnapshotView;
const operation = (id: string, kind: string, minute: number, outcome = {}, state = "succeeded") =>
  ({ id, kind, state, finished_at: at(minute), outcome }) as OperationView;

test("deployments, snapshots and what operations did are on one line, and rehearsals are not", () => {
  const all = history(
    [deployment("d2", 20), deployment("d1", 0)],
    [snapshot("s1", 10)],
    [
      operation("r1", "restore", 30, { restore_id: "r" }),
      operation("dry", "restore", 25, { result: "dry_run" }),
      operation("drill", "drill", 15),
      operation("deploy", "deploy", 21),
      operation("snap", "snapshot", 10),
      operation("undone", "stop", 5, {}, "failed"),
    ],
  );
  expect(all.map((each) => each.id)).toEqual(["d1", "s1", "drill", "d2", "r1"]);
});

test("a version runs until the next one is there or until it is stopped; what failed never ran", () => {
  const all = history(
    [deployment("d1", 0), deployment("d2", 10, "failed"), deployment("d3", 20), deployment("d4", 40)],
    [],
    [operation("stop", "stop", 30)],
  );
  const found = spans(all);
  expect(found.map((each) => [each.deployments[0]?.id, each.from, each.to])).toEqual([
    ["d1", ms(1), ms(21)],
    ["d3", ms(21), ms(30)],
    ["d4", ms(41), null],
  ]);
  expect([0, 1, 12, 21, 30, 41, 500].map((minute) => ranAt(found, ms(minute))?.id)).toEqual([
    undefined,
    "d1",
    "d1",
    "d3",
    undefined,
    "d4",
    "d4",
  ]);
});

test("the same version deployed again is one span, that knows which deployment was the last by then", () => {
  const found = spans(history([deployment("d1", 0, "succeeded", "x"), deployment("d2", 10, "succeeded", "x")], [], []));
  expect(found.length).toBe(1);
  expect([ranAt(found, ms(5))?.id, ranAt(found, ms(15))?.id]).toEqual(["d1", "d2"]);
});

test("from a moment one returns to what ran then, and to the newest data that is not later", () => {
  const all = history([deployment("d1", 0), deployment("d2", 30)], [snapshot("s1", 10), snapshot("s2", 40)], []);
  const versions = spans(all);
  const point = (minute: number) => {
    const found = pointAt(all, versions, { at: ms(minute), happening: null });
    return [found.deployment?.id, found.snapshot?.id];
  };
  expect(point(5)).toEqual(["d1", undefined]);
  expect(point(20)).toEqual(["d1", "s1"]);
  expect(point(50)).toEqual(["d2", "s2"]);
  // a deployment is returned to, and not what ran while it began
  const second = all.find((each) => each.id === "d2")!;
  expect(pointAt(all, versions, { at: second.at, happening: second }).deployment?.id).toBe("d2");
});

test("one goes from what happened to what happened next, and stays at the ends", () => {
  const all = history([], [snapshot("s1", 0), snapshot("s2", 10)], []);
  const [first, second] = all;
  expect(next(all, null, 1)).toBe(second);
  expect(next(all, { at: first!.at, happening: first! }, 1)).toBe(second);
  expect(next(all, { at: second!.at, happening: second! }, 1)).toBe(second);
  expect(next(all, { at: ms(5), happening: null }, -1)).toBe(first);
  expect(next([], null, 1)).toBeNull();
});
