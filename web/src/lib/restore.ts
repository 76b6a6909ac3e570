/** What the outcome of a restore, or of its dry run, says; and how long the workload was down for it. */
import type { OperationView } from "../api/client";
import { record, type Sentence } from "../api/errors";

/** The steps of a restore in their order. Two more are entered where they are needed. */
export const RESTORE_STEPS = [
  "requested",
  "locked",
  "preflight",
  "staging",
  "warming",
  "quiescing",
  "safeguarding",
  "committing",
  "swapping",
  "redeploying",
  "confirming",
  "reaping",
] as const;
const DOWN_FROM = "quiescing";
const UP_FROM = "reaping";

export const RESULTS = [
  "restored",
  "restored_stopped",
  "restored_unhealthy",
  "restored_deploy_failed",
  "reverted",
  "reverted_unhealthy",
  "needs_decision",
] as const;
export type Result = (typeof RESULTS)[number];

export const CHANGES = ["added", "changed", "removed"] as const;
export type ChangeKind = (typeof CHANGES)[number];

export interface PlannedVolume {
  target: string;
  path: string;
  restoredFiles: number;
  restoredBytes: number;
  changes: Record<ChangeKind, { count: number; bytes: number; paths: string[] }>;
}

/** A sentence that an operation recorded; of earlier versions there are only English words. */
export function sentence(told: unknown): Sentence {
  if (typeof told === "string") return { code: "", message: told };
  const { code, message, values } = record(told);
  return { code: text(code), message: text(message), values: values == null ? null : record(values) };
}

/** The outcome of a dry run. */
export interface Plan {
  volumes: PlannedVolume[];
  liveBytes: number;
  lastDowntime: number | null;
  stops: { workload: string; grace: number }[];
  /** The image that is started afterwards; `null` where the workload stays stopped. */
  image: string | null;
  /** The image that ran on the data when it was captured. */
  takenWith: string | null;
  onUnhealthy: "revert" | "keep";
  warnings: Sentence[];
  /** Only these paths are restored; empty for whole volumes. */
  paths: string[];
}

export function planOf(outcome: Readonly<Record<string, unknown>>): Plan {
  const last = outcome["last_downtime_seconds"];
  return {
    volumes: list(outcome["volumes"]).map((each) => {
      const volume = record(each);
      const change = (kind: ChangeKind) => ({
        count: number(volume[kind]),
        bytes: number(volume[`bytes_${kind}`]),
        paths: texts(volume[`${kind}_paths`]),
      });
      return {
        target: text(volume["target"]),
        path: text(volume["path"]),
        restoredFiles: number(volume["restored_files"]),
        restoredBytes: number(volume["restored_bytes"]),
        changes: { added: change("added"), changed: change("changed"), removed: change("removed") },
      };
    }),
    liveBytes: number(outcome["live_bytes"]),
    lastDowntime: typeof last === "number" ? last : null,
    stops: list(outcome["stops"]).map((each) => {
      const stop = record(each);
      return { workload: text(stop["workload"]), grace: number(stop["grace_seconds"]) };
    }),
    image: outcome["runs_afterwards"] ? text(outcome["image"]) || text(outcome["runs_afterwards"]) : null,
    takenWith: text(outcome["taken_with"]) || null,
    onUnhealthy: outcome["on_unhealthy"] === "keep" ? "keep" : "revert",
    warnings: list(outcome["warnings"]).map(sentence),
    paths: texts(outcome["paths"]),
  };
}

/** How a restore ended; `null` for what is none, or did not get so far. */
export function resultOf(operation: OperationView): Result | null {
  return RESULTS.find((result) => result === operation.outcome["result"]) ?? null;
}

/** Whether an operation replaces live data: then it has a downtime, and its steps are known beforehand. */
export function replacesData(operation: OperationView): boolean {
  const restores = ["restore", "undo", "clone"].includes(operation.kind) || "restore_id" in operation.outcome;
  return restores && operation.outcome["result"] !== "dry_run";
}

/**
 * For how long the workload has been down, in seconds; `null` where it was not.
 *
 * @param now milliseconds, by the server's clock.
 */
export function downtime(operation: OperationView, now: number): number | null {
  const told = operation.outcome["downtime_seconds"];
  if (typeof told === "number") return told;
  const from = operation.steps.find((step) => step.name === DOWN_FROM)?.started_at;
  if (from === undefined) return null;
  const until = operation.steps.find((step) => step.name === UP_FROM)?.started_at ?? operation.finished_at;
  return Math.max(0, (until ? Date.parse(until) : now) - Date.parse(from)) / 1000;
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function texts(value: unknown): string[] {
  return list(value).map(String);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}
