/** What differs between two texts, line by line. Loaded when somebody looks at a difference. */
import { structuredPatch } from "diff";

/** Milliseconds after which nobody waits any longer: the time for two quite different texts grows with their square. */
const PATIENCE = 1000;
/** Lines that are shown at most: a file of nothing but line ends would keep a page busy for long. */
export const MOST_LINES = 5000;

export interface DiffLine {
  kind: "same" | "added" | "removed";
  text: string;
}

/** Lines that belong together, with some around them. */
export interface Hunk {
  /** Where it begins in the new text, from 1. */
  line: number;
  lines: DiffLine[];
}

const KINDS = { "+": "added", "-": "removed", " ": "same" } as const;

/** `null` where too much is other to tell it in time, or for anybody to read. */
export function differences(before: string, after: string): Hunk[] | null {
  const patch = structuredPatch("", "", before, after, "", "", { context: 3, timeout: PATIENCE });
  if (!patch || patch.hunks.reduce((count, { lines }) => count + lines.length, 0) > MOST_LINES) return null;
  return patch.hunks.map((hunk) => ({
    line: hunk.newStart,
    lines: hunk.lines
      .filter((line) => !line.startsWith("\\"))
      .map((line) => ({ kind: KINDS[line.charAt(0) as keyof typeof KINDS], text: line.slice(1) })),
  }));
}
