/**
 * Who is signed in: the same one in all windows of this browser, as they share a cookie. Whoever signs in or out in one
 * does so in all, and none goes on with what it showed to somebody else.
 */
import { answered, api, BASE, type CallerView } from "./client";
import { ApiError } from "./errors";
import { live } from "./live.svelte";

export type Role = CallerView["role"];

const ORDER: readonly Role[] = ["viewer", "operator", "admin"];

class Session {
  /** `undefined` while it is not known yet, `null` where nobody is signed in. */
  caller = $state.raw<CallerView | null>();
  /** Whether the first admin is yet to be made. */
  setupPending = $state(false);
  #windows = new BroadcastChannel(`holdfast ${BASE.pathname}`);
  #asked = 0;
  #answered = 0;

  constructor() {
    this.#windows.onmessage = () => void this.find().catch(() => {}); // without an answer nothing changes here
  }

  /** Ask the server. An answer that comes after one that was asked for later is of no account: it tells how things were. */
  async find(): Promise<void> {
    const asked = ++this.#asked;
    const caller = await answered(api.GET("/api/session")).catch((error: unknown) => {
      if (!(error instanceof ApiError && error.status === 401)) throw error;
      return null;
    });
    if (asked < this.#answered) return;
    this.#answered = asked;
    if (caller) return this.#enter(caller);
    if (this.caller === undefined) this.setupPending = (await answered(api.GET("/api/setup"))).pending;
    this.over();
  }

  async signIn(username: string, password: string): Promise<void> {
    await answered(api.POST("/api/session", { body: { username, password } }));
    this.#windows.postMessage("");
    await this.find(); // as things are now that signing in is done with
  }

  async signOut(): Promise<void> {
    try {
      await answered(api.DELETE("/api/session"));
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 401)) throw error;
    }
    this.over();
    this.#windows.postMessage("");
  }

  /** Nobody is signed in any more. */
  over(): void {
    live.stop();
    this.caller = null;
  }

  /** Whether who is signed in has at least this role. */
  may(role: Role): boolean {
    return this.caller ? ORDER.indexOf(this.caller.role) >= ORDER.indexOf(role) : false;
  }

  #enter(caller: CallerView): void {
    if (this.caller && this.caller.name !== caller.name) return location.reload();
    this.setupPending = false;
    this.caller ??= caller;
    live.start(caller, () => this.find());
  }
}

export const session = new Session();
