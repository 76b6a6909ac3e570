/** What is on the disks, as the server tells it. */
import { answered, api } from "../api/client";
import { resource } from "../api/resource.svelte";
import type { Tone } from "../components/tone";

/** Loaded while a component shows it; what changes it most is a snapshot. */
export function disks() {
  return resource(
    (signal) => answered(api.GET("/api/disk", { signal })),
    () => ({ parts: ["snapshots", "repository"] }),
  );
}

const SOON = 14 * 86_400_000;

/** How pressing it is: nearly full, or full soon. */
export function pressing(
  {
    total_bytes,
    free_bytes,
    forecast,
  }: { total_bytes: number; free_bytes: number; forecast: { full_at: string | null } | null },
  now: number,
): Tone {
  if (free_bytes < total_bytes * 0.05) return "bad";
  const soon = forecast?.full_at != null && Date.parse(forecast.full_at) - now < SOON;
  return soon || free_bytes < total_bytes * 0.1 ? "warn" : "good";
}
