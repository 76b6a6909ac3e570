/** What a prune would do, from the outcome of its dry run. */
import { record, type Sentence } from "../api/errors";
import { sentence } from "./restore";

export interface PrunePlan {
  /** The snapshots that go: by workload, when each was taken. */
  goes: [workload: string, taken: string[]][];
  count: number;
  freedBytes: number;
  /** Why some of the space is left to the next prune; `null` where none is. */
  postponed: Sentence | null;
}

export function prunePlanOf(outcome: Readonly<Record<string, unknown>>): PrunePlan {
  const judged = Array.isArray(outcome["snapshots"]) ? outcome["snapshots"].map(record) : [];
  const goes = new Map<string, string[]>();
  for (const snapshot of judged.filter((each) => each["deleted"] === true)) {
    const workload = String(snapshot["workload"]);
    goes.set(workload, [...(goes.get(workload) ?? []), String(snapshot["taken_at"])]);
  }
  return {
    goes: [...goes],
    count: [...goes.values()].reduce((total, taken) => total + taken.length, 0),
    freedBytes: Math.max(0, Number(outcome["freed_bytes"] ?? 0)),
    postponed: outcome["postponed_packs"] ? sentence(outcome["postponed_why"]) : null,
  };
}
