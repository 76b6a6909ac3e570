/** How a workload is doing, as colours and as a matter for somebody's attention. */
import type { SnapshotView, StatusInBriefView } from "../api/client";
import type { Tone } from "../components/tone";

export type Condition = StatusInBriefView["condition"];

const TONES: Record<Condition, Tone> = {
  never_deployed: "quiet",
  running: "good",
  degraded: "warn",
  unhealthy: "bad",
  down: "bad",
  stopped: "quiet",
  undecided: "warn",
  unknown: "warn",
};

export function toneOf(condition: Condition): Tone {
  return TONES[condition];
}

/** Whether a person should look at it. */
export function needsAttention(status: StatusInBriefView): boolean {
  return ["warn", "bad"].includes(toneOf(status.condition)) || status.edge_problem !== null;
}

/** By project, in the order of their names; and so the workloads in each. */
export function byProject(statuses: readonly StatusInBriefView[]): [project: string, theirs: StatusInBriefView[]][] {
  const projects = new Map<string, StatusInBriefView[]>();
  for (const status of [...statuses].sort((a, b) => a.name.localeCompare(b.name)))
    projects.set(status.project, [...(projects.get(status.project) ?? []), status]);
  return [...projects].sort(([a], [b]) => a.localeCompare(b));
}

/** The address of a workload's page, or of one of its tabs. */
export function workloadPath(name: string, tab = ""): string {
  return `/workloads/${encodeURIComponent(name)}${tab && `/${tab}`}`;
}

/** The address of what is in a snapshot. */
export function snapshotPath(name: string, snapshot: string): string {
  return workloadPath(name, `snapshots/${encodeURIComponent(snapshot)}`);
}

/** What was noted of a snapshot; not what the server notes of its own ones, which the reason says in everybody's language. */
export function noteOf({ reason, note }: SnapshotView): string {
  return reason === "safety" || reason === "before_deploy" ? "" : note;
}

/** An image's name without its registry and path: what tells versions apart. */
export function shortImage(image: string): string {
  return image.split("/").at(-1) ?? image;
}
