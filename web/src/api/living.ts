/** What a window and the worker that it shares with others say to each other, and how each learns that the other is gone. */
import type { EventName } from "./hub";

/** What a window says: what it is called, what it follows under a number, what it doesn't any more. */
export type Asked = { window: string } | { follow: number; address: string; name: EventName } | { leave: number };

/** What it is told: what the worker is called, and what comes of that which it follows. */
export type Told =
  | { worker: string }
  | { number: number; data: string }
  | { number: number; waits: true }
  | { number: number; broke: true };

/** Take a name that nobody else has, for as long as this side lives. */
export function alive(): Promise<string> {
  const name = crypto.randomUUID();
  return new Promise((taken) => {
    void navigator.locks.request(name, () => {
      taken(name);
      return new Promise(() => {}); // the browser gives it up with this side
    });
  });
}

/** Wait until whoever has that name is gone. */
export async function died(name: string): Promise<void> {
  await navigator.locks.request(name, { mode: "shared" }, () => {});
}
