/** The part of time that is to be seen, and where a moment is in it. All of it in milliseconds and pixels. */

export interface View {
  from: number;
  to: number;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** The least that is to be seen. */
const LEAST = 10 * SECOND;

const STEPS = [
  ...[1, 5, 15, 30].map((count) => count * SECOND),
  ...[1, 5, 15, 30].map((count) => count * MINUTE),
  ...[1, 3, 6, 12].map((count) => count * HOUR),
  ...[1, 2, 7, 14].map((count) => count * DAY),
];

/** Everything from the first moment until now, with some air on both sides. */
export function whole(first: number, now: number): View {
  const length = Math.max(now - first, MINUTE);
  return { from: now - length * 1.04, to: now + length * 0.04 };
}

/** A view within what there is: never shorter than sense makes, never longer or beyond it. */
export function within(view: View, all: View): View {
  const length = Math.min(Math.max(view.to - view.from, LEAST), all.to - all.from);
  const from = Math.min(Math.max(view.from, all.from), all.to - length);
  return { from, to: from + length };
}

/** Nearer by a factor (farther below 1); the moment `around` stays where it is. */
export function zoomed(view: View, factor: number, around: number, all: View): View {
  const length = Math.min(Math.max((view.to - view.from) / factor, LEAST), all.to - all.from);
  const share = (around - view.from) / (view.to - view.from);
  const from = around - share * length;
  return within({ from, to: from + length }, all);
}

/** Moved just so far that a moment is in it. */
export function showing(view: View, at: number, all: View): View {
  const length = view.to - view.from;
  const margin = length * 0.08;
  if (at < view.from + margin) return within({ from: at - margin, to: at - margin + length }, all);
  if (at > view.to - margin) return within({ from: at + margin - length, to: at + margin }, all);
  return view;
}

export function x(at: number, view: View, width: number): number {
  return ((at - view.from) / (view.to - view.from)) * width;
}

export function moment(position: number, view: View, width: number): number {
  return view.from + (position / Math.max(width, 1)) * (view.to - view.from);
}

export interface Tick {
  at: number;
  /** Whether a day begins with it. */
  day: boolean;
}

/** Round moments on the axis, at least `apart` pixels from one another; by the clock and calendar of who looks. */
export function ticks(view: View, width: number, apart = 96): { step: number; ticks: Tick[] } {
  const least = ((view.to - view.from) / Math.max(width, 1)) * apart;
  const longest = STEPS.at(-1)!;
  const step = STEPS.find((each) => each >= least) ?? Math.ceil(least / longest) * longest;
  const found: Tick[] = [];
  const start = new Date(view.from);
  start.setHours(0, 0, 0, 0);
  if (step < DAY) {
    // counted from midnight of each day, since days are not equally long everywhere
    for (let day = start; day.getTime() <= view.to; day = following(day, 1))
      for (let at = day.getTime(); at < following(day, 1).getTime() && at <= view.to; at += step)
        if (at >= view.from) found.push({ at, day: at === day.getTime() });
  } else {
    const days = Math.round(step / DAY);
    const number = Math.round((start.getTime() - start.getTimezoneOffset() * MINUTE) / DAY);
    for (let day = following(start, -(number % days)); day.getTime() <= view.to; day = following(day, days))
      if (day.getTime() >= view.from) found.push({ at: day.getTime(), day: true });
  }
  return { step, ticks: found };
}

function following(day: Date, days: number): Date {
  const next = new Date(day);
  next.setDate(next.getDate() + days);
  return next;
}

/** What lies so near together that it is shown as one. */
export interface Cluster<T> {
  /** Where: the first of it. So no two of them touch one another. */
  x: number;
  items: T[];
}

/** Things in the order of time, those nearer than `apart` pixels together; what is out of sight is left out. */
export function clusters<T extends { at: number }>(
  items: readonly T[],
  view: View,
  width: number,
  apart = 25,
): Cluster<T>[] {
  const found: Cluster<T>[] = [];
  let last = -Infinity;
  for (const item of items) {
    const at = x(item.at, view, width);
    if (at < -apart || at > width + apart) continue;
    const cluster = found.at(-1);
    // from its first: a long row of near ones becomes several, and not one that is everywhere
    if (cluster && at - last < apart) {
      cluster.items.push(item);
    } else {
      found.push({ x: at, items: [item] });
      last = at;
    }
  }
  return found;
}
