/** What a clone is asked for, from what somebody fills in. */
import type { CloneRequest } from "../api/client";

export interface CloneWish {
  goal: "into" | "new";
  /** The id of the workload whose data is replaced. */
  into: string;
  name: string;
  project: string;
  stage: string;
  /** What is published instead, separated by commas. */
  ports: string;
  /** Where captured volumes go, where that was changed; empty for nowhere. */
  targets: Record<string, string>;
  withImage: boolean;
  acceptReplaced: boolean;
  createMissing: boolean;
}

/** As the form begins. */
export const UNFILLED: Readonly<CloneWish> = {
  goal: "into",
  into: "",
  name: "",
  project: "",
  stage: "",
  ports: "",
  targets: {},
  withImage: false,
  acceptReplaced: false,
  createMissing: false,
};

/** @param captured the container paths of the snapshot's volumes. */
export function cloneRequest(wish: CloneWish, captured: readonly string[]): CloneRequest {
  const goals = captured
    .map((from) => [from, (wish.targets[from] ?? from).trim()] as const)
    .filter(([, to]) => to !== "");
  const ports = wish.ports
    .split(",")
    .map((port) => port.trim())
    .filter(Boolean);
  const like_source = {
    name: wish.name.trim(),
    project: wish.project.trim() || null,
    stage: wish.stage.trim() || null,
    ports: ports.length > 0 ? ports : null,
  };
  return {
    ...(wish.goal === "into" ? { into: wish.into } : { like_source }),
    map: Object.fromEntries(goals.filter(([from, to]) => from !== to)),
    volumes: goals.length < captured.length ? goals.map(([, to]) => to) : null,
    with_image: wish.withImage,
    accept_replaced: wish.acceptReplaced,
    create_missing: wish.createMissing,
    dry_run: false,
  };
}
