import { expect, test } from "vitest";
import { fill, match } from "./match";

test("an address gives its parameters, decoded", () => {
  expect(match("/", "/")).toEqual({});
  expect(match("/workloads/:workload/snapshots", "/workloads/a%2Fb/snapshots")).toEqual({ workload: "a/b" });
});

test("what is longer, shorter, empty or can't be decoded is another address", () => {
  for (const path of ["/workloads", "/workloads/", "/workloads/x/y", "/workloads/%E0%A4%A", "/other/x"])
    expect(match("/workloads/:workload", path)).toBeNull();
});

test("a filled pattern matches and gives back what it was filled with", () => {
  const params = { workload: "ü/ ?#%" };
  expect(match("/workloads/:workload", fill("/workloads/:workload", params))).toEqual(params);
});
