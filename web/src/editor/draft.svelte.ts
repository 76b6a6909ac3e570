/** A declaration while it is written: what the server says of it, and what applying it would change. */
import { answered, api, type ApplyView } from "../api/client";
import { textProblems, type TextProblem } from "./problems";

const PAUSE = 400;

/** The options of a request whose body is the text itself. */
export const AS_YAML = {
  headers: { "Content-Type": "application/yaml" },
  bodySerializer: (text: unknown) => String(text),
} as const;

export class Draft {
  text = $state("");
  /** What applying it would change; `undefined` while that isn't known of what stands there now. */
  preview = $state.raw<ApplyView>();
  problems = $state.raw<readonly TextProblem[]>([]);
  /** Why it can't be checked. */
  error = $state.raw<unknown>();
  #times = $state(0);

  constructor(text: string) {
    this.text = text;
  }

  /** Keep the rest in accord with the text; for as long as the component is there that calls this. */
  watch(): void {
    $effect(() => {
      const text = this.text;
      void this.#times;
      const asked = new AbortController();
      this.preview = undefined;
      const timer = setTimeout(() => void this.#check(text, asked.signal), PAUSE);
      return () => {
        clearTimeout(timer);
        asked.abort();
      };
    });
  }

  /** Ask anew what applying it would change: what it is applied to is another by now. */
  recheck(): void {
    this.#times++;
  }

  /** Take a refusal of the text as what it is; another error is thrown on. */
  refused(error: unknown): void {
    this.problems = textProblems(error);
    if (this.problems.length === 0) throw error;
  }

  async #check(text: string, signal: AbortSignal): Promise<void> {
    try {
      const preview = await answered(api.POST("/api/workloads/preview", { body: text, signal, ...AS_YAML }));
      if (signal.aborted) return;
      this.preview = preview;
      this.problems = [];
      this.error = undefined;
    } catch (error) {
      if (signal.aborted) return;
      this.problems = textProblems(error);
      this.error = this.problems.length > 0 ? undefined : error;
    }
  }
}

let known: Promise<unknown> | undefined;

/** The schema of declarations; asked for once. */
export function declarationSchema(): Promise<unknown> {
  known ??= answered(api.GET("/api/schemas/workload")).catch((error: unknown) => {
    known = undefined;
    throw error;
  });
  return known;
}
