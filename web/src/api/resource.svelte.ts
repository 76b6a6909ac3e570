/**
 * What a page shows of the server: loaded when the page comes up, loaded again whenever it may have changed.
 *
 * What is there stays visible while it is loaded again, and when that fails. Whoever changes something need not say so
 * here: the server tells.
 */
import { ApiError } from "./errors";
import { live, type Interest } from "./live.svelte";
import { session } from "./session.svelte";

export class Resource<T> {
  value = $state.raw<T>();
  error = $state.raw<unknown>();
  loading = $state(true);
  #load: (signal: AbortSignal) => Promise<T>;
  #running: AbortController | undefined;
  #stale = false;

  constructor(load: (signal: AbortSignal) => Promise<T>) {
    this.#load = load;
  }

  /** Look again. What comes while that is under way makes for one more look, after it. */
  refresh(): void {
    if (this.#running) this.#stale = true;
    else void this.#look();
  }

  /** Load from the beginning, as for another thing: what is loading is given up. */
  restart(): void {
    this.#running?.abort();
    this.#running = undefined;
    this.#stale = false;
    void this.#look();
  }

  /** Stop. */
  end(): void {
    this.#running?.abort();
  }

  async #look(): Promise<void> {
    const running = new AbortController();
    this.#running = running;
    this.loading = true;
    try {
      const value = await this.#load(running.signal);
      if (running.signal.aborted) return;
      this.value = value;
      this.error = undefined;
    } catch (error) {
      if (running.signal.aborted) return;
      this.error = error;
      if (error instanceof ApiError && error.status === 401) session.over();
    }
    this.#running = undefined;
    this.loading = false;
    if (this.#stale) {
      this.#stale = false;
      void this.#look();
    }
  }
}

/**
 * A resource for as long as the component that asks for it is there.
 *
 * @param load what asks the server; where it reads state, a change of that state loads anew.
 * @param interest what changes it.
 */
export function resource<T>(load: (signal: AbortSignal) => Promise<T>, interest: () => Interest): Resource<T> {
  const made = new Resource(load);
  $effect(() => {
    made.restart();
    return () => made.end();
  });
  $effect(() => live.watch(interest, () => made.refresh()));
  return made;
}
