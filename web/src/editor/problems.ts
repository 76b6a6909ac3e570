/** What the server found wrong with a declaration, and where in its text. */
import { ApiError, type Problem, record } from "../api/errors";

export interface TextProblem extends Problem {
  /** From 1; 0 where it belongs to no line. */
  line: number;
  column: number;
  /** Its place in the declaration, as `volumes[0].target`; empty where it belongs to none. */
  path: string;
}

/** The problems of a text, if that is what was refused. */
export function textProblems(error: unknown): TextProblem[] {
  if (!(error instanceof ApiError)) return [];
  const listed = error.details["problems"];
  if (Array.isArray(listed)) return listed.map((told) => problemOf(record(told)));
  const { code, message, nextStep, details, status } = error;
  return status === 422 || status === 400 || status === 403
    ? [problemOf({ ...details, code, message, next_step: nextStep })]
    : [];
}

function problemOf(told: Readonly<Record<string, unknown>>): TextProblem {
  const text = (key: string) => String(told[key] ?? "");
  return {
    code: text("code"),
    message: text("message"),
    next_step: text("next_step"),
    path: text("path"),
    line: Number(told["line"] ?? 0),
    column: Number(told["column"] ?? 0),
  };
}
