/** How an operation stands, as colours and in words. */
import type { OperationView } from "../api/client";
import type { Tone } from "../components/tone";
import { i18n, type Key } from "../i18n/index.svelte";

const TONES: Record<OperationView["state"], Tone> = {
  queued: "busy",
  running: "busy",
  succeeded: "good",
  failed: "bad",
  cancelled: "quiet",
  interrupted: "warn",
};

export function stateTone(state: OperationView["state"]): Tone {
  return TONES[state];
}

/** The address of an operation's page. */
export function operationPath(id: string): string {
  return `/operations/${encodeURIComponent(id)}`;
}

/** How much of the present step is done, from 0 to 1; `null` while unknown. */
export function share(progress: OperationView["progress"]): number | null {
  const [done, total] = progress.total_bytes
    ? [progress.done_bytes, progress.total_bytes]
    : [progress.done_files, progress.total_files];
  return total ? Math.min(done / total, 1) : null;
}

/** What a step is called. Those that only few ever see have no name but the server's own. */
export function stepName(step: string): string {
  return i18n.text(`step.${step}` as Key) || step.replaceAll("_", " ");
}

/** Which step an operation that didn't succeed ended at. The way back to what ran before is no failure, unless it fails. */
export function failedStep({ state, steps, error, finished_at }: OperationView): number | null {
  if (finished_at === null || state === "succeeded") return null;
  const returned = steps.at(-1)?.name === "returning" && error?.code !== "deploy_return_failed";
  return steps.length - (returned ? 2 : 1);
}
