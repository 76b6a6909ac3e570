/** What a chart is made of: steps on its scale, and a line with gaps where nothing is known. */

export interface Point {
  /** Milliseconds since 1970. */
  at: number;
  value: number;
}

/** Round values from zero to at least the largest, by tens or, for bytes, by powers of two; three to five of them. */
export function steps(largest: number, binary: boolean): number[] {
  if (!(largest > 0)) return [0, 1];
  const power = binary ? 2 ** Math.floor(Math.log2(largest / 2)) : 10 ** Math.floor(Math.log10(largest));
  const unit = binary ? power : power * ([0.25, 0.5, 1, 2].find((each) => largest / (each * power) <= 5) ?? 2);
  const count = Math.max(2, Math.ceil(largest / unit - 1e-9));
  return Array.from({ length: count + 1 }, (_, index) => index * unit);
}

/** The points in runs without a gap; a gap is where steps are missing. */
export function runs(points: readonly Point[], step: number): Point[][] {
  const found: Point[][] = [];
  for (const point of points) {
    const last = found.at(-1)?.at(-1);
    if (last && point.at - last.at <= step * 1.5) found.at(-1)!.push(point);
    else found.push([point]);
  }
  return found;
}

/** The point that is nearest to a moment. */
export function nearest(points: readonly Point[], at: number): Point | null {
  let best: Point | null = null;
  for (const point of points) if (!best || Math.abs(point.at - at) < Math.abs(best.at - at)) best = point;
  return best;
}
