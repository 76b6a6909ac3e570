/**
 * A folder that may hold a hundred thousand names: only as many are asked for as somebody looks at, a page after the
 * other, in the order of their names.
 */
import type { FileView, FolderView } from "../../api/client";

export class Folder {
  items = $state.raw<FileView[]>([]);
  /** Whether there is more than is here. */
  more = $state(true);
  loading = $state(false);
  error = $state.raw<unknown>();
  #after: string;
  #wanted = 0;

  constructor(
    readonly ask: (after: string, signal: AbortSignal) => Promise<FolderView>,
    readonly signal: AbortSignal,
    after = "",
  ) {
    this.#after = after;
  }

  /** See to it that there are so many, if there are so many. */
  async need(count: number): Promise<void> {
    this.#wanted = Math.max(this.#wanted, count);
    if (this.loading || this.error !== undefined) return;
    this.loading = true;
    try {
      while (this.more && this.items.length < this.#wanted && !this.signal.aborted) {
        const page = await this.ask(this.#after, this.signal);
        if (this.signal.aborted) return;
        this.items = [...this.items, ...page.items];
        this.more = page.next_after !== null;
        this.#after = page.next_after ?? "";
      }
    } catch (error) {
      if (!this.signal.aborted) this.error = error;
    } finally {
      this.loading = false;
    }
  }

  /** Go on after a failure. */
  retry(): void {
    this.error = undefined;
    void this.need(this.#wanted);
  }
}
