/** Who is signed in. */
import { answered, api, type CallerView } from "./client";
import { ApiError } from "./errors";
import { live } from "./live.svelte";

export type Role = CallerView["role"];

const ORDER: readonly Role[] = ["viewer", "operator", "admin"];

class Session {
  /** `undefined` while it is not known yet, `null` where nobody is signed in. */
  caller = $state.raw<CallerView | null>();
  /** Whether the first admin is yet to be made. */
  setupPending = $state(false);

  /** Ask the server. */
  async find(): Promise<void> {
    try {
      this.#enter(await answered(api.GET("/api/session")));
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 401)) throw error;
      this.setupPending = (await answered(api.GET("/api/setup"))).pending;
      this.caller = null;
    }
  }

  async signIn(username: string, password: string): Promise<void> {
    this.#enter(await answered(api.POST("/api/session", { body: { username, password } })));
  }

  async signOut(): Promise<void> {
    try {
      await answered(api.DELETE("/api/session"));
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 401)) throw error;
    }
    this.over();
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
    this.setupPending = false;
    this.caller = caller;
    live.start();
  }
}

export const session = new Session();
