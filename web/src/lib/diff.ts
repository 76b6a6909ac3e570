/** What differs between two texts, line by line. Loaded when somebody looks at a difference. */
import { structuredPatch } from "diff";

/** Milliseconds after which nobody waits any longer: the time for two quite different texts grows with their square. */
const PATIENCE = 1000;

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

/** `null` where too much is other to tell it in time. */
export function differences(before: string, after: string): Hunk[] | null {
  const patch = structuredPatch("", "", before, after, "", "", { context: 3, timeout: PATIENCE });
  return (
    patch?.hunks.map((hunk) => ({
      line: hunk.newStart,
      lines: hunk.lines
        .filter((line) => !line.startsWith("\\"))
        .map((line) => ({ kind: KINDS[line.charAt(0) as keyof typeof KINDS], text: line.slice(1) })),
    })) ?? null
  );
}
