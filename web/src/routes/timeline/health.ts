/** How a workload was, as a band along the line. */
import type { Health, HealthHistoryView } from "../../api/client";
import { x, type View } from "./scale";

/** A state since a moment (milliseconds since 1970), until the next one. */
export interface Held {
  at: number;
  state: Health;
}

/** A part of the band, in pixels. */
export interface Stretch {
  state: Health;
  left: number;
  width: number;
}

/** What must not be overlooked, however short it was; the worst last, so that it is drawn over the others. */
const SEEN: readonly Health[] = ["unhealthy", "down"];
const LEAST = 2;

export function heldOf(found: HealthHistoryView): Held[] {
  return found.items.map(({ at, state }) => ({ at: Date.parse(at), state }));
}

/** How it was at a moment. */
export function healthAt(held: readonly Held[], at: number): Health {
  return held.findLast((each) => each.at <= at)?.state ?? "unknown";
}

/** The band as far as it is to be seen: what lies on the same pixels once, and what is bad never too narrow to see. */
export function stretches(held: readonly Held[], now: number, view: View, width: number): Stretch[] {
  const found: Stretch[] = [];
  const last = new Map<Health, Stretch>();
  held.forEach(({ at, state }, index) => {
    const end = held[index + 1]?.at ?? now;
    if (end <= view.from || at >= view.to) return;
    const left = Math.max(x(at, view, width), -8);
    const right = Math.min(x(end, view, width), width + 8);
    const before = last.get(state);
    const least = SEEN.includes(state) ? LEAST : 0;
    // beside the last of its kind, with nothing between them that could be seen
    if (before && left - (before.left + before.width) < 0.5) {
      before.width = Math.max(right - before.left, before.width);
      return;
    }
    const stretch = { state, left, width: Math.max(right - left, least) };
    last.set(state, stretch);
    found.push(stretch);
  });
  return found.sort((a, b) => SEEN.indexOf(a.state) - SEEN.indexOf(b.state));
}
