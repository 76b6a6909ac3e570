/** What happened, in words. */
import type { SnapshotView } from "../../api/client";
import { t } from "../../i18n/index.svelte";
import type { Happening } from "./history";

/** What it was: "Snapshot", "Deployment", "Undo" … */
export function what(happening: Happening): string {
  switch (happening.kind) {
    case "deployment":
      return t(`deployed_by.${happening.of.reason}`);
    case "restore":
      return t(happening.of.kind === "undo" ? "timeline.undo" : "timeline.restore");
    default:
      return t(`timeline.${happening.kind}`);
  }
}

/** Of what, and how it ended. */
export function about(happening: Happening): string {
  switch (happening.kind) {
    case "deployment":
      return happening.of.image;
    case "snapshot":
      return named(happening.of);
    default:
      return t("timeline.by", { actor: happening.of.actor });
  }
}

/** Why a snapshot was taken: what whoever took it noted, or what had it taken. */
export function named(snapshot: SnapshotView): string {
  return (snapshot.reason === "manual" && snapshot.note) || t(`reason.${snapshot.reason}`);
}

/** How it ended, or that it hasn't yet; nothing for what just is. */
export function end(happening: Happening): string {
  switch (happening.kind) {
    case "snapshot":
      return happening.of.damaged.length > 0 ? t("snapshots.damaged") : "";
    case "deployment":
      return t(`deployment_state.${happening.of.state}`);
    case "stop":
      return "";
    default:
      return t(`ended.${happening.of.state}`);
  }
}
