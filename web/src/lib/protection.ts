/** How well a workload's data is protected, in one word. */
import type { ProtectionView } from "../api/client";
import type { Tone } from "../components/tone";

export type Protected = "no_data" | "never" | "unscheduled" | "scheduled";

const TONES: Record<Protected, Tone> = { no_data: "quiet", never: "bad", unscheduled: "warn", scheduled: "good" };

export function protectedBy(protection: ProtectionView): Protected {
  if (!protection.has_data) return "no_data";
  if (protection.count === 0) return "never";
  return protection.scheduled ? "scheduled" : "unscheduled";
}

export function protectionTone(how: Protected): Tone {
  return TONES[how];
}
