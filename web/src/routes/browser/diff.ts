/** What differs between two texts, line by line. Loaded when somebody looks at a difference. */
import { structuredPatch } from "diff";
import type { Preview } from "./preview";

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

/** `null` where it can't be told: one of them is no text, is longer than what is looked at, or too much is other. */
export function differences(before: Preview, after: Preview): Hunk[] | null {
  if (before.text === null || after.text === null || before.cut || after.cut) return null;
  const patch = structuredPatch("", "", before.text, after.text, "", "", { context: 3, timeout: PATIENCE });
  return (
    patch?.hunks.map((hunk) => ({
      line: hunk.newStart,
      lines: hunk.lines
        .filter((line) => !line.startsWith("\\"))
        .map((line) => ({ kind: KINDS[line.charAt(0) as keyof typeof KINDS], text: line.slice(1) })),
    })) ?? null
  );
}
