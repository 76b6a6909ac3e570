/**
 * One operation, followed to its end by its own stream of events.
 *
 * A stream begins with the operation as it stands, so that a reload or a lost connection misses nothing. What the server
 * knows ends the stream; until then a lost connection is made again.
 */
import { answered, api, BASE, type OperationView } from "./client";
import { ApiError } from "./errors";
import { session } from "./session.svelte";

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
  #source: EventSource | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #pause = FIRST;
  #closed = false;

  constructor(readonly id: string) {}

  open(): void {
    this.#closed = false;
    const source = new EventSource(new URL(`api/operations/${encodeURIComponent(this.id)}/events`, BASE));
    this.#source = source;
    source.addEventListener("operation", (event) => this.#told(JSON.parse(event.data as string) as OperationView));
    source.addEventListener("error", () => void this.#broke());
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#again);
    this.#source?.close();
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

  /** The stream broke off: by a lost connection, or since the server has something to say about it. */
  async #broke(): Promise<void> {
    this.#source?.close();
    this.lost = this.value !== undefined;
    try {
      await answered(api.GET("/api/operations/{operation}", { params: { path: { operation: this.id } } }));
    } catch (error) {
      if (error instanceof ApiError && error.status < 500) {
        if (error.status === 401) session.over();
        this.lost = false;
        this.error = error;
        return;
      }
      this.lost = true;
    }
    if (this.#closed) return; // whoever looked on is gone meanwhile
    this.#again = setTimeout(() => this.open(), this.#pause);
    this.#pause = Math.min(this.#pause * 2, SLOWEST);
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
  const { code = operation.state, message = "", next_step = "", details = {} } = operation.error ?? {};
  return new ApiError(422, code, message, next_step, details ?? {});
}
