/**
 * Word of changes, by one stream of server-sent events for the whole interface.
 *
 * - The stream says where to look again, never what is there now. It begins with "everywhere", so that whoever connects
 *   anew has missed nothing.
 * - A lost connection is made again, ever more seldom up to every `SLOWEST` milliseconds, and at once when the browser
 *   is back on its network.
 * - A page that nobody sees holds no connection: browsers open only six to one server.
 */
import { BASE, type TokenScope } from "./client";

/** A part of the API, as tokens may be confined to it. */
export type Part = TokenScope;

/** Something may be other than before: in this part, of this workload; `null` for any. */
export interface Update {
  part: Part | null;
  workload_id: string | null;
}

/** What somebody who looks on wants to be told of. No parts: everything. No workload: those of all. */
export interface Interest {
  parts: readonly Part[];
  workloadId?: string | undefined;
}

const FIRST = 500;
const SLOWEST = 10_000;
const HIDDEN = 10_000;

/** Whether a change may concern what somebody looks at. */
export function concerns(update: Update, interest: Interest): boolean {
  const part = update.part === null || interest.parts.includes(update.part);
  const workload = update.workload_id === null || !interest.workloadId || interest.workloadId === update.workload_id;
  return part && workload;
}

interface Watcher {
  interest: () => Interest;
  tell: () => void;
}

class Live {
  /** Whether word of changes arrives; `undefined` until it did for the first time. */
  connected = $state<boolean | undefined>(undefined);
  #watchers = new Set<Watcher>();
  #source: EventSource | undefined;
  #pause = FIRST;
  #again: ReturnType<typeof setTimeout> | undefined;
  #hidden: ReturnType<typeof setTimeout> | undefined;
  #started = false;

  constructor() {
    // once, and not with each sign-in
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.#hidden);
      if (document.hidden) this.#hidden = setTimeout(() => this.#close(), HIDDEN);
      else if (this.#started && !this.#source) this.#open();
    });
    addEventListener("online", () => this.#started && this.#open());
  }

  /** Begin to listen, when somebody is signed in. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.#open();
  }

  /** Stop listening: nobody is signed in any more. */
  stop(): void {
    this.#started = false;
    this.#close();
    this.connected = undefined;
  }

  /** Be told of changes. Returns what ends it. */
  watch(interest: () => Interest, tell: () => void): () => void {
    const watcher = { interest, tell };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  #open(): void {
    this.#close();
    const source = new EventSource(new URL("api/events", BASE));
    this.#source = source;
    source.addEventListener("updates", (event) => {
      this.connected = true;
      this.#pause = FIRST;
      const { updates } = JSON.parse(event.data as string) as { updates: Update[] };
      for (const watcher of [...this.#watchers])
        if (updates.some((update) => concerns(update, watcher.interest()))) watcher.tell();
    });
    source.addEventListener("error", () => {
      this.#close();
      if (this.connected !== undefined) this.connected = false;
      if (!this.#started || document.hidden) return;
      this.#again = setTimeout(() => this.#open(), this.#pause);
      this.#pause = Math.min(this.#pause * 2, SLOWEST);
    });
  }

  #close(): void {
    clearTimeout(this.#again);
    this.#source?.close();
    this.#source = undefined;
  }
}

export const live = new Live();
