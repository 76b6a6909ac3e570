/**
 * What all windows of a browser follow, each stream of events over one connection, whoever looks on: a browser opens only
 * six to one server, and whatever is asked beyond them waits.
 *
 * - A stream that breaks off is over for all of its followers. Who wants it again follows it again.
 * - Who comes later is told what everybody who follows knows already.
 * - Operations are followed a few at a time; another one waits for its turn, and is told so.
 */

/** What the events of a stream are called: word of changes, or an operation as it stands. */
export type EventName = "updates" | "operation";

export interface Listener {
  told: (data: string) => void;
  /** The stream is over, for whatever reason. */
  broke: () => void;
  /** There is no connection for it yet. */
  waits?: (() => void) | undefined;
}

export const MOST_OPERATIONS = 3;

/** Listen to a stream by a connection of one's own. Returns what ends it. */
export function listen(address: string, name: EventName, { told, broke }: Listener): () => void {
  const source = new EventSource(address);
  source.addEventListener(name, (event) => told((event as MessageEvent<string>).data));
  source.addEventListener("error", () => {
    source.close();
    broke();
  });
  return () => source.close();
}

class Stream {
  readonly listeners = new Set<Listener>();
  /** Ends the connection; `undefined` as long as there is none. */
  end: (() => void) | undefined;
  #latest: string | undefined;

  constructor(
    readonly address: string,
    readonly name: EventName,
  ) {}

  open(broke: () => void): void {
    const told = (data: string): void => {
      this.#latest = data;
      for (const listener of [...this.listeners]) listener.told(data);
    };
    this.end = listen(this.address, this.name, { told, broke });
  }

  greet(listener: Listener): void {
    if (!this.end) listener.waits?.();
    else if (this.#latest !== undefined) listener.told(this.name === "operation" ? this.#latest : all(this.#latest));
  }
}

/** Word that everything may have changed, up to where this one stands. */
function all(latest: string): string {
  return JSON.stringify({ ...JSON.parse(latest), updates: [{ part: null, workload_id: null }] });
}

export class Hub {
  #streams = new Map<string, Stream>();

  /** Follow a stream. Returns what ends that. */
  follow(address: string, name: EventName, listener: Listener): () => void {
    let stream = this.#streams.get(address);
    if (!stream) this.#streams.set(address, (stream = new Stream(address, name)));
    stream.listeners.add(listener);
    this.#connect();
    stream.greet(listener);
    return () => {
      stream.listeners.delete(listener);
      if (stream.listeners.size === 0) this.#forget(stream);
      this.#connect();
    };
  }

  /** Break all streams off. */
  breakOff(): void {
    for (const stream of [...this.#streams.values()]) this.#broke(stream);
  }

  /** Open what waits, as far as it may. */
  #connect(): void {
    const streams = [...this.#streams.values()];
    let operations = streams.filter((stream) => stream.name === "operation" && stream.end).length;
    for (const stream of streams) {
      if (stream.end || (stream.name === "operation" && operations++ >= MOST_OPERATIONS)) continue;
      stream.open(() => this.#broke(stream));
    }
  }

  #broke(stream: Stream): void {
    this.#forget(stream);
    for (const listener of stream.listeners) listener.broke();
    this.#connect();
  }

  #forget(stream: Stream): void {
    stream.end?.();
    if (this.#streams.get(stream.address) === stream) this.#streams.delete(stream.address);
  }
}
