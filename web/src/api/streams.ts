/**
 * Streams of events, each shared by all windows of this browser that follow it (`hub.ts`, in a worker that they share).
 * A browser that can't share has this window follow by connections of its own.
 */
import { whileSeen } from "../lib/seen";
import { BASE } from "./client";
import { Hub, type EventName, type Listener } from "./hub";
import { alive, died, type Asked, type Told } from "./living";
import workerAddress from "./streams.worker?sharedworker&url";

type Follows = Pick<Hub, "follow">;

/** What starts scripts takes an address only from a policy that is named in that of the page: this one gives just one. */
const policy = (
  globalThis as {
    trustedTypes?: { createPolicy(name: string, rules: object): { createScriptURL(of: string): string } };
  }
).trustedTypes?.createPolicy("holdfast-worker", { createScriptURL: () => workerAddress });

/** So long a worker may take to say something; each after one that could not be used twice as long, on a busy machine. */
const SILENT = 10_000;
/** So many in a row that could not be used are enough. */
const ENOUGH = 3;

class SharedHub implements Follows {
  #port: MessagePort;
  #listeners = new Map<number, Listener>();
  #last = 0;

  /** @param over called once it can't be used any more, with whether it ever could. */
  constructor(over: (worked: boolean) => void) {
    const worker = new SharedWorker(policy?.createScriptURL("") ?? workerAddress, { type: "module", name: "holdfast" });
    this.#port = worker.port;
    let ended = false;
    const end = (worked: boolean): void => {
      if (ended) return;
      ended = true;
      over(worked);
      for (const [number, listener] of [...this.#listeners]) {
        this.#ask({ leave: number });
        listener.broke();
      }
      this.#listeners.clear();
      this.#port.close();
    };
    const silent = setTimeout(() => end(false), SILENT * 2 ** failures); // as when it dies just as this window comes to it
    worker.addEventListener("error", () => end(false));
    this.#port.onmessage = ({ data: told }: MessageEvent<Told>) => {
      if (!("worker" in told)) return this.#told(told);
      clearTimeout(silent);
      failures = 0;
      void died(told.worker).then(() => end(true));
    };
    void alive().then((window) => this.#ask({ window }));
  }

  follow(address: string, name: EventName, listener: Listener): () => void {
    const number = ++this.#last;
    this.#listeners.set(number, listener);
    this.#ask({ follow: number, address, name });
    return () => {
      if (this.#listeners.delete(number)) this.#ask({ leave: number });
    };
  }

  #told(told: Exclude<Told, { worker: string }>): void {
    const listener = this.#listeners.get(told.number);
    if ("data" in told) listener?.told(told.data);
    else if ("waits" in told) listener?.waits?.();
    else {
      this.#listeners.delete(told.number);
      listener?.broke();
    }
  }

  #ask(asked: Asked): void {
    this.#port.postMessage(asked);
  }
}

let hub: Follows | undefined;
/** How many workers there were in a row that could not be used. */
let failures = 0;

function hubOfThisBrowser(): Follows {
  if (!("SharedWorker" in globalThis && "locks" in navigator)) return new Hub();
  try {
    return new SharedHub((worked) => (hub = worked || ++failures < ENOUGH ? undefined : new Hub()));
  } catch {
    return new Hub();
  }
}

/**
 * Follow a stream, as long as somebody sees this window. Returns what ends that.
 *
 * @param path relative to where the interface is served.
 */
export function follow(path: string, name: EventName, listener: Listener): () => void {
  const address = new URL(path, BASE).href;
  const broke = (): void => {
    end();
    listener.broke();
  };
  const end = whileSeen(() => (hub ??= hubOfThisBrowser()).follow(address, name, { ...listener, broke }));
  return end;
}
