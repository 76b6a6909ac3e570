/**
 * The newest lines of a log, as many as one can look at: what comes faster than anybody reads costs neither memory nor
 * time. While somebody looks at older ones, new ones wait, so that nothing moves under their eyes.
 */
import type { LogEntryView } from "../../api/client";

/** So many are kept, and so many wait. */
export const MOST = 10_000;

export class Lines {
  /** The oldest first. Changed in place: `count` and `version` tell of it. */
  kept: LogEntryView[] = [];
  count = $state(0);
  version = $state(0);
  /** So many wait to be shown. */
  waiting = $state(0);
  held = $state(false);
  #next: LogEntryView[] = [];
  #draw: ((run: () => void) => void) | null;
  #drawing = false;
  /** The lines at the newest moment that is known: they come again when a lost connection is made anew. */
  #last: { at: string; lines: Set<string> } = { at: "", lines: new Set() };
  #again = false;

  /** @param draw runs what it is given when there is time to draw. */
  constructor(draw: (run: () => void) => void = (run) => requestAnimationFrame(run)) {
    this.#draw = draw;
  }

  /** When the newest line was printed; empty if there is none. */
  get newest(): string {
    return this.#last.at;
  }

  /** Lines come from `newest` on: those that are known already are left out. */
  again(): void {
    this.#again = true;
  }

  clear(): void {
    this.kept = [];
    this.#next = [];
    this.#last = { at: "", lines: new Set() };
    this.#again = this.held = false;
    this.count = this.waiting = 0;
    this.version++;
  }

  add(lines: readonly LogEntryView[]): void {
    for (const line of lines) if (this.#isNew(line)) this.#next.push(line);
    if (this.#next.length > 2 * MOST) this.#next = this.#next.slice(-MOST);
    if (this.#drawing || this.#next.length === 0) return;
    this.#drawing = true;
    this.#draw?.(() => {
      this.#drawing = false;
      this.#show();
    });
  }

  /** Let new lines wait, or show those that did. */
  hold(held: boolean): void {
    this.held = held;
    this.#show();
  }

  #show(): void {
    if (this.#next.length > MOST) this.#next = this.#next.slice(-MOST);
    this.waiting = this.held ? this.#next.length : 0;
    if (this.held || this.#next.length === 0) return;
    this.kept = [...this.kept, ...this.#next].slice(-MOST);
    this.#next = [];
    this.count = this.kept.length;
    this.version++;
  }

  #isNew(line: LogEntryView): boolean {
    const key = `${line.instance} ${line.stream} ${line.text}`;
    if (this.#again) {
      if (line.at < this.#last.at || (line.at === this.#last.at && this.#last.lines.has(key))) return false;
      if (line.at > this.#last.at) this.#again = false;
    }
    if (line.at > this.#last.at) this.#last = { at: line.at, lines: new Set([key]) };
    else if (line.at === this.#last.at) this.#last.lines.add(key);
    return true;
  }
}

/** A text, cut where a search finds something: every other part is found. */
export function found(text: string, search: string): string[] {
  if (!search) return [text];
  const parts: string[] = [];
  const [low, wanted] = [text.toLowerCase(), search.toLowerCase()];
  if (low.length !== text.length) return [text]; // some letters change their length; then nothing is marked
  let from = 0;
  for (let at = low.indexOf(wanted); at >= 0; at = low.indexOf(wanted, from)) {
    parts.push(text.slice(from, at), text.slice(at, at + wanted.length));
    from = at + wanted.length;
  }
  return [...parts, text.slice(from)];
}
