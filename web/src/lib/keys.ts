/** Keys by which the server knows a request that it got already: one for each thing that somebody means to do. */
export function newKey(): string {
  // not `randomUUID`, which there is only with TLS and on loopback
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * What a button begins without asking. Pressed again after a lost answer, or while that still goes on, it means the same
 * thing; once that has ended, or something else was begun, it means another one.
 */
export class Deed {
  #key = newKey();
  #shown = "";
  #begun = "";

  /**
   * @param shown the operation that is on the page, whatever began it.
   * @returns the one that is under way now.
   */
  async begin(shown: string, send: (key: string) => Promise<{ id: string }>): Promise<string> {
    if (shown !== this.#shown) {
      this.#key = newKey();
      this.#shown = shown;
    }
    this.#shown = this.#begun = (await send(this.#key)).id;
    return this.#begun;
  }

  /** An operation that was on the page has ended. */
  ended(id: string): void {
    if (id === this.#begun) this.#key = newKey();
  }
}

/** What the buttons of a page begin, each of them another thing. */
export class Deeds {
  #deeds = new Map<string, Deed>();

  of(what: string): Deed {
    const deed = this.#deeds.get(what) ?? new Deed();
    this.#deeds.set(what, deed);
    return deed;
  }

  /** An operation that was on the page has ended. */
  ended(id: string): void {
    for (const deed of this.#deeds.values()) deed.ended(id);
  }
}
