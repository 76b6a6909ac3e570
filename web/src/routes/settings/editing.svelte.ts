/** A configuration while somebody edits it: what the draft was made from, and what others made of it since. */
import type { WorkloadView } from "../../api/client";
import { Draft } from "../../editor/draft.svelte";

/** A configuration as a text, and since when and by whom it is what it is, if that is known. */
export interface Written {
  text: string;
  revision: string;
  by: string | null;
  at: string | null;
  /** Orders what is told of one workload: answers can overtake one another. */
  told: string;
}

export function writtenBy(
  { config, revision, configured_by: by, configured_at: at, updated_at: told }: WorkloadView,
  written: (config: unknown) => string,
): Written {
  return { text: written(config), revision, by, at, told };
}

export class Editing {
  readonly draft = new Draft("");
  /** What the draft was made from. */
  base = $state.raw<Written>();
  /** What it is by now, where that is something else and the draft too. */
  theirs = $state.raw<Written>();
  readonly changed = $derived(this.base !== undefined && this.draft.text !== this.base.text);

  /** Take note of what the server tells. What somebody writes stays, whatever others apply meanwhile. */
  found(now: Written): void {
    if (this.base && now.told < this.base.told) return;
    if (!this.changed) this.#start(now);
    else if (now.revision === this.base?.revision) this.theirs = undefined;
    else if (now.revision !== this.theirs?.revision) {
      this.theirs = now;
      this.draft.recheck();
    }
  }

  /** Begin anew from what is there by now; what was written is gone. */
  discard(): void {
    const now = this.theirs ?? this.base;
    if (now) this.#start(now);
  }

  /** What was written is there. */
  applied(now: Written): void {
    this.#start(now);
  }

  #start(now: Written): void {
    this.base = now;
    this.theirs = undefined;
    this.draft.text = now.text;
  }
}
