import { expect, test } from "vitest";
import type { ProtectionView } from "../api/client";
import { protectedBy } from "./protection";

const made = (fields: Partial<ProtectionView>): ProtectionView => ({
  workload_id: "w",
  has_data: true,
  scheduled: false,
  count: 0,
  last_at: null,
  verified_at: null,
  proved_at: null,
  ...fields,
});

test("a schedule protects nothing before the first snapshot is there", () => {
  expect(protectedBy(made({ scheduled: true }))).toBe("never");
  expect(protectedBy(made({ scheduled: true, count: 1 }))).toBe("scheduled");
});

test("snapshots by hand alone are told apart, and what has no data needs none", () => {
  expect(protectedBy(made({ count: 3 }))).toBe("unscheduled");
  expect(protectedBy(made({ has_data: false }))).toBe("no_data");
});
