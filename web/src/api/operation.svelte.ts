/**
 * One operation, followed to its end by its own stream of events.
 *
 * A stream begins with the operation as it stands, so that a reload or a lost connection misses nothing. What the server
 * knows ends the stream; until then a lost connection is made again. As long as there is none to be had, the word of
 * changes tells when to look: at each step and at the end.
 */
import { answered, api, type OperationView } from "./client";
import { ApiError } from "./errors";
import { live } from "./live.svelte";
import { session } from "./session.svelte";
import { follow } from "./streams";

const FIRST = 300;
const SLOWEST = 5_000;

export type End = Exclude<OperationView["state"], "queued" | "running">;

/** How an operation ended; `null` where it did not yet. */
export function endOf({ state }: OperationView): End | null {
  return state === "queued" || state === "running" ? null : state;
}

export class FollowedOperation {
  value = $state.raw<OperationView>();
  error = $state.raw<unknown>();
  /** Whether the connection is lost, and being made again. */
  lost = $state(false);
  /** How far this computer's clock is ahead of the server's, in milliseconds; at most, as word takes time to arrive. */
  ahead = $state(Infinity);
  #end: (() => void) | undefined;
  /** Ends looking on without a stream. */
  #unwatch: (() => void) | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #pause = FIRST;
  #closed = false;

  constructor(readonly id: string) {}

  open(): void {
    this.#closed = false;
    const user = encodeURIComponent(session.caller?.name ?? "");
    this.#end = follow(`api/operations/${encodeURIComponent(this.id)}/events?user=${user}`, "operation", {
      told: (data) => {
        this.#unwatch?.();
        this.#unwatch = undefined;
        this.#told(JSON.parse(data) as OperationView);
      },
      broke: () => void this.#broke(),
      waits: () => this.#waits(),
    });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#again);
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#end?.();
  }

  #told(operation: OperationView): void {
    this.value = operation;
    this.error = undefined;
    this.lost = false;
    this.#pause = FIRST;
    const last = operation.steps.at(-1);
    const latest = operation.finished_at ?? operation.log.at(-1)?.at ?? last?.finished_at ?? last?.started_at;
    if (latest && !endOf(operation)) this.ahead = Math.min(this.ahead, Date.now() - Date.parse(latest));
    if (endOf(operation)) this.close();
  }

  #waits(): void {
    const look = async (): Promise<void> => {
      const found = await this.#look();
      if (found && this.#unwatch) this.#told(found);
    };
    this.#unwatch ??= live.watch(
      () => ({ parts: ["operations"] }),
      () => void look(),
    );
    void look();
  }

  /** The stream broke off: by a lost connection, or since the server has something to say about it. */
  async #broke(): Promise<void> {
    this.lost = this.value !== undefined;
    await this.#look();
    if (this.#closed || this.error !== undefined) return; // whoever looked on is gone meanwhile, or was told
    this.#again = setTimeout(() => this.open(), this.#pause);
    this.#pause = Math.min(this.#pause * 2, SLOWEST);
  }

  /** Ask for it once; what the server refuses stands for good. */
  async #look(): Promise<OperationView | undefined> {
    try {
      return await answered(api.GET("/api/operations/{operation}", { params: { path: { operation: this.id } } }));
    } catch (error) {
      if (error instanceof ApiError && error.status < 500) {
        if (error.status === 401) session.over();
        this.lost = false;
        this.error = error;
      } else this.lost = true;
      return undefined;
    }
  }
}

/** An operation for as long as the component that asks for it is there. */
export function followed(id: () => string): { readonly current: FollowedOperation } {
  const current = $derived(new FollowedOperation(id()));
  $effect(() => {
    const here = current;
    here.open();
    return () => here.close();
  });
  return {
    get current() {
      return current;
    },
  };
}

/**
 * Wait for an operation to end.
 *
 * @throws ApiError where it ended otherwise than well.
 */
export function outcomeOf(operation: OperationView, signal: AbortSignal): Promise<Readonly<Record<string, unknown>>> {
  if (signal.aborted) return Promise.reject(new DOMException("given up", "AbortError"));
  const followed = new FollowedOperation(operation.id);
  return new Promise<Readonly<Record<string, unknown>>>((resolve, reject) => {
    signal.addEventListener("abort", () => {
      end();
      reject(new DOMException("given up", "AbortError"));
    });
    const stop = $effect.root(() => {
      $effect(() => {
        const { value, error } = followed;
        if (error !== undefined) reject(error as Error);
        else if (!value || !endOf(value)) return;
        else if (value.state === "succeeded") resolve(value.outcome);
        else reject(failureOf(value));
        end();
      });
    });
    function end(): void {
      followed.close();
      stop();
    }
    followed.open();
  });
}

/** What an operation that did not end well says of that. */
export function failureOf(operation: OperationView): ApiError {
  const { code = operation.state, message = "", next_step = "", details, values } = operation.error ?? {};
  return new ApiError(422, code, message, next_step, details ?? {}, values);
}

/** The last lines of an instance that did not become healthy, if that is why it failed. */
export function printedOf({ error, outcome }: OperationView): readonly string[] {
  const lines = error?.details?.["logs"] ?? outcome["instance_logs"];
  return Array.isArray(lines) ? lines.map(String) : [];
}
