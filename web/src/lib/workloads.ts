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

/** Why a person should look at it, if anybody should. */
export function attentionFor(
  status: StatusInBriefView,
): `condition.${Condition}` | "overview.edge_problem" | "overview.deploy_failed" | null {
  // what is being worked on is as the work wants it
  if (!status.busy && ["warn", "bad"].includes(toneOf(status.condition))) return `condition.${status.condition}`;
  if (status.edge_problem !== null) return "overview.edge_problem";
  return failedLast(status) ? "overview.deploy_failed" : null;
}

/** Whether what was wanted last could not be deployed, and still is wanted. */
function failedLast({ last_deployment: last, deployed, pending }: StatusInBriefView): boolean {
  return last !== null && ["failed", "returned"].includes(last.state) && (pending || deployed === null);
}

/** What runs, and what is configured instead of it for the next time. */
export function versionsOf({
  image,
  deployed,
}: Pick<StatusInBriefView, "image"> & { deployed: { image: string } | null }): {
  runs: string;
  configured: string | null;
} {
  return { runs: deployed?.image ?? image, configured: deployed && deployed.image !== image ? image : null };
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
