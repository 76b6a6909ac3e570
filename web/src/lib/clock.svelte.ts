/** The time, for what is told as "3 minutes ago" and for what counts while one looks. It stands still while nobody does. */
import { createSubscriber } from "svelte/reactivity";

function ticking(period: number): { readonly now: number } {
  const subscribe = createSubscriber((update) => {
    const timer = setInterval(update, period);
    return () => clearInterval(timer);
  });
  return {
    get now() {
      subscribe();
      return Date.now();
    },
  };
}

/** By the half minute. */
export const slowly = ticking(30_000);
/** By the tenth of a second. */
export const quickly = ticking(100);
