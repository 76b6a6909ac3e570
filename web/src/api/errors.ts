/** What can come back instead of an answer. */

/** One of the reasons of a refusal. */
export interface Problem {
  code: string;
  message: string;
  next_step: string;
}

/** What the server tells besides refusals: a sentence, and what stands at its places where its code tells all of it. */
export interface Sentence extends Omit<Problem, "next_step"> {
  next_step?: string;
  values?: Readonly<Record<string, unknown>> | null;
}

/** The code of an answer that isn't Holdfast's own. */
export const UNEXPECTED = "unexpected_answer";

/** The server refused. Its words are in English; `code` says which refusal it is. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly nextStep: string,
    readonly details: Readonly<Record<string, unknown>>,
    /** What stands at the places of its words, where these tell all of it. */
    readonly values: Readonly<Record<string, unknown>> | null = null,
  ) {
    super(message);
  }

  /** From an answer and its body; what stands before the server, like a proxy, answers in shapes of its own. */
  static of(response: Response, body: unknown): ApiError {
    const told = record(record(body)["error"]);
    const text = (key: string) => (typeof told[key] === "string" ? told[key] : "");
    return new ApiError(
      response.status,
      text("code") || UNEXPECTED,
      text("message") || `${response.status} ${response.statusText}`.trim(),
      text("next_step"),
      record(told["details"]),
      told["values"] ? record(told["values"]) : null,
    );
  }

  /** Every reason of a refusal that has several. */
  get problems(): readonly Problem[] {
    const listed = this.details["problems"];
    if (!Array.isArray(listed)) return [];
    return listed.map((problem) => {
      const told = record(problem);
      return {
        code: String(told["code"] ?? ""),
        message: String(told["message"] ?? ""),
        next_step: String(told["next_step"] ?? ""),
      };
    });
  }
}

/** The server doesn't answer. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
}

/** A value as an object, whatever it is. */
export function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
