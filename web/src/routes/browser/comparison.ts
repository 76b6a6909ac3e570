/** What a comparison found. */
import { record } from "../../api/errors";

export const KINDS = ["added", "changed", "removed"] as const;

export interface Difference {
  count: number;
  bytes: number;
  /** The first of them, with their sizes, and exactly as the server knows them. */
  first: { path: string; bytes: number; exact: string }[];
}

export interface Compared {
  target: string;
  of: Record<(typeof KINDS)[number], Difference>;
}

const number = (value: unknown) => (typeof value === "number" ? value : 0);
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** From the outcome of a comparison, by volume. */
export function comparedOf(outcome: Readonly<Record<string, unknown>>): Compared[] {
  return list(outcome["volumes"]).map((each) => {
    const volume = record(each);
    const difference = (kind: string): Difference => {
      const found = record(volume[kind]);
      return {
        count: number(found["count"]),
        bytes: number(found["bytes"]),
        first: list(found["first"]).map((entry) => {
          const [path, bytes, exact] = list(entry);
          return { path: String(path), bytes: number(bytes), exact: String(exact ?? "") };
        }),
      };
    };
    return {
      target: String(volume["target"]),
      of: { added: difference("added"), changed: difference("changed"), removed: difference("removed") },
    };
  });
}
