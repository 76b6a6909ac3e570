/** What happened to a workload, on one line: what ran when, which data there was, and to which of it one can return. */
import type { DeploymentView, OperationView, SnapshotView } from "../../api/client";
import type { Tone } from "../../components/tone";

/** Something that happened at a moment (milliseconds since 1970). */
export type Happening =
  | { kind: "deployment"; id: string; at: number; of: DeploymentView }
  | { kind: "snapshot"; id: string; at: number; of: SnapshotView }
  | { kind: "restore" | "drill" | "stop"; id: string; at: number; of: OperationView };

export type Kind = Happening["kind"];

/** A version that ran without a break; `to` is `null` while it does. */
export interface Span {
  from: number;
  to: number | null;
  /** The deployments that brought it, the oldest first: the same version may be deployed again. */
  deployments: DeploymentView[];
}

/** Where one can return to from a moment. */
export interface Point {
  /** What ran then; `null` where nothing ran. */
  deployment: DeploymentView | null;
  /** The data that is nearest to it, of then or earlier. */
  snapshot: SnapshotView | null;
}

/** What somebody looks at: a moment, and what happened at it. */
export interface Chosen {
  at: number;
  happening: Happening | null;
}

const RESTORES: readonly string[] = ["restore", "undo", "clone", "rollback"];

const time = (text: string) => Date.parse(text);

/** When an operation took effect, or what is known of that by now. */
function moment(operation: OperationView): number {
  return time(operation.finished_at ?? operation.started_at ?? operation.created_at);
}

/** Of all operations those that belong on the line, and are not told there as deployments or snapshots. */
function fromOperation(operation: OperationView): Happening[] {
  const { id, kind, state, outcome } = operation;
  const at = moment(operation);
  if (kind === "drill") return [{ kind: "drill", id, at, of: operation }];
  if (kind === "stop" && state === "succeeded") return [{ kind: "stop", id, at, of: operation }];
  // rehearsals, and what was refused before it began, have no restore
  if (RESTORES.includes(kind) && typeof outcome["restore_id"] === "string")
    return [{ kind: "restore", id, at, of: operation }];
  return [];
}

/** All of it, the oldest first. */
export function history(
  deployments: readonly DeploymentView[],
  snapshots: readonly SnapshotView[],
  operations: readonly OperationView[],
): Happening[] {
  return [
    ...deployments.map((of): Happening => ({ kind: "deployment", id: of.id, at: time(of.started_at), of })),
    ...snapshots.map((of): Happening => ({ kind: "snapshot", id: of.id, at: time(of.created_at), of })),
    ...operations.flatMap(fromOperation),
  ].sort((a, b) => a.at - b.at || a.id.localeCompare(b.id));
}

const sameVersion = (one: DeploymentView, other: DeploymentView) =>
  one.image_id === other.image_id && one.config_hash === other.config_hash;

/** What ran when. */
export function spans(happenings: readonly Happening[]): Span[] {
  const found: Span[] = [];
  const changes = happenings
    .flatMap((each): [number, DeploymentView | null][] => {
      if (each.kind === "stop") return [[each.at, null]];
      if (each.kind === "deployment" && each.of.state === "succeeded")
        return [[time(each.of.finished_at ?? each.of.started_at), each.of]];
      return [];
    })
    .sort(([a], [b]) => a - b);
  for (const [at, deployment] of changes) {
    const last = found.at(-1);
    const before = last?.deployments.at(-1);
    const runs = last?.to === null;
    if (runs && deployment && before && sameVersion(before, deployment)) {
      last.deployments.push(deployment);
      continue;
    }
    if (runs) last.to = at;
    if (deployment) found.push({ from: at, to: null, deployments: [deployment] });
  }
  return found;
}

/** The last of sorted things that is not after `at`; `-1` for none. */
function lastUntil<T>(all: readonly T[], at: number, of: (each: T) => number): number {
  let low = 0;
  let high = all.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(all[middle]!) <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** What ran at a moment. */
export function ranAt(all: readonly Span[], at: number): DeploymentView | null {
  const span = all[lastUntil(all, at, (each) => each.from)];
  if (!span || (span.to !== null && span.to <= at)) return null;
  const index = lastUntil(span.deployments, at, (each) => time(each.finished_at ?? each.started_at));
  return span.deployments[Math.max(index, 0)] ?? null;
}

/** Where one can return to from what was chosen. */
export function pointAt(happenings: readonly Happening[], all: readonly Span[], chosen: Chosen): Point {
  const { happening, at } = chosen;
  if (happening?.kind === "snapshot") return { snapshot: happening.of, deployment: ranAt(all, at) };
  let snapshot: SnapshotView | null = null;
  for (let index = lastUntil(happenings, at, (each) => each.at); index >= 0 && !snapshot; index--) {
    const each = happenings[index]!;
    if (each.kind === "snapshot") snapshot = each.of;
  }
  const deployed = happening?.kind === "deployment" && happening.of.state === "succeeded" ? happening.of : null;
  return { snapshot, deployment: deployed ?? ranAt(all, at) };
}

/** How it ended, as a colour; `busy` while it hasn't. */
export function toneOf(happening: Happening): Tone {
  if (happening.kind === "snapshot") return happening.of.damaged.length > 0 ? "bad" : "quiet";
  switch (happening.of.state) {
    case "queued":
    case "running":
      return "busy";
    case "succeeded":
      return happening.kind === "stop" ? "quiet" : "good";
    case "returned":
    case "cancelled":
      return "warn";
    default:
      return "bad";
  }
}

/** The next one from what is chosen, in a direction; the nearest where a moment without one is chosen. */
export function next(happenings: readonly Happening[], chosen: Chosen | null, step: 1 | -1): Happening | null {
  if (!chosen) return happenings.at(-1) ?? null;
  const own = chosen.happening ? happenings.findIndex((each) => each.id === chosen.happening?.id) : -1;
  if (own >= 0) return happenings[own + step] ?? happenings[own]!;
  const before = lastUntil(happenings, chosen.at, (each) => each.at);
  return happenings[step === 1 ? before + 1 : before] ?? null;
}
