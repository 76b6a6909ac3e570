/**
 * Word of changes, by one stream of server-sent events for the whole interface.
 *
 * - The stream says where to look again, never what is there now. It begins with "everywhere", so that whoever connects
 *   anew has missed nothing; where it stands at the position that is known, there was nothing to miss.
 * - A lost connection is made again, ever more seldom up to every `SLOWEST` milliseconds, and at once when the browser
 *   is back on its network. Before that it is asked who is signed in: another window may have changed that.
 */
import type { CallerView, TokenScope } from "./client";
import { follow } from "./streams";

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

/** Whether a change may concern what somebody looks at. */
export function concerns(update: Update, interest: Interest): boolean {
  const part = update.part === null || interest.parts.includes(update.part);
  const workload = update.workload_id === null || !interest.workloadId || interest.workloadId === update.workload_id;
  return part && workload;
}

interface Word {
  updates: Update[];
  position: string;
}

interface Watcher {
  interest: () => Interest;
  tell: () => void;
}

class Live {
  /** Whether word of changes arrives; `undefined` until it did for the first time. */
  connected = $state<boolean | undefined>(undefined);
  #watchers = new Set<Watcher>();
  #end: (() => void) | undefined;
  #pause = FIRST;
  #again: ReturnType<typeof setTimeout> | undefined;
  #listening: { user: string; ask: () => Promise<unknown> } | undefined;
  /** Up to where everybody who watches was told. */
  #position = "";

  constructor() {
    // once, and not with each sign-in
    addEventListener("online", () => this.#listening && this.#open());
  }

  /**
   * Begin to listen, when somebody is signed in.
   *
   * @param ask asks the server whether they still are, and stops this if not.
   */
  start({ name, position }: CallerView, ask: () => Promise<unknown>): void {
    if (this.#listening) return;
    this.#listening = { user: name, ask };
    this.#position = position;
    this.#open();
  }

  /** Stop listening: nobody is signed in any more. */
  stop(): void {
    this.#listening = undefined;
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
    if (!this.#listening) return;
    this.#end = follow(`api/events?user=${encodeURIComponent(this.#listening.user)}`, "updates", {
      told: (data) => this.#told(JSON.parse(data) as Word),
      broke: () => this.#broke(),
    });
  }

  #close(): void {
    clearTimeout(this.#again);
    this.#again = undefined;
    this.#end?.();
  }

  #told({ updates, position }: Word): void {
    this.connected = true;
    this.#pause = FIRST;
    if (position === this.#position) return;
    this.#position = position;
    for (const watcher of [...this.#watchers])
      if (updates.some((update) => concerns(update, watcher.interest()))) watcher.tell();
  }

  #broke(): void {
    if (this.connected !== undefined) this.connected = false;
    this.#again = setTimeout(() => void this.#retry(), this.#pause);
    this.#pause = Math.min(this.#pause * 2, SLOWEST);
  }

  async #retry(): Promise<void> {
    const again = this.#again;
    const next = await this.#listening?.ask().then(
      () => () => this.#open(),
      () => () => this.#broke(),
    );
    if (this.#again === again) next?.(); // else somebody signed out, or it was opened otherwise meanwhile
  }
}

export const live = new Live();
