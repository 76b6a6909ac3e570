/** What the server found wrong with a declaration, and where in its text. */
import { ApiError, record } from "../api/errors";

export interface TextProblem {
  /** From 1; 0 where it belongs to no line. */
  line: number;
  column: number;
  message: string;
  nextStep: string;
}

/** The problems of a text, if that is what was refused. */
export function textProblems(error: unknown): TextProblem[] {
  if (!(error instanceof ApiError)) return [];
  const place = (told: Readonly<Record<string, unknown>>) => ({
    line: Number(told["line"] ?? 0),
    column: Number(told["column"] ?? 0),
  });
  const listed = error.details["problems"];
  if (Array.isArray(listed))
    return listed.map(record).map((problem) => ({
      ...place(problem),
      message: String(problem["message"] ?? ""),
      nextStep: String(problem["next_step"] ?? ""),
    }));
  return error.status === 422 || error.status === 400 || error.status === 403
    ? [{ ...place(error.details), message: error.message, nextStep: error.nextStep }]
    : [];
}
