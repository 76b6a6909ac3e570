/** How many times as much the snapshots hold as is stored of them; `null` where storing the same once has saved nothing yet. */
export function deduplication({ bytes, stored }: { bytes: number; stored: number }): number | null {
  const ratio = Math.round((bytes / stored) * 10) / 10;
  return stored > 0 && ratio >= 1 ? ratio : null;
}
