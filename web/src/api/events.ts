/** A stream of server-sent events that is read as it comes: for those where each counts, unlike the word of changes. */
import { BASE } from "./client";
import { ApiError, record, Unreachable } from "./errors";

export interface ServerEvent {
  name: string;
  data: string;
}

/** The whole events at the beginning of a text, and what is left. Lines end as the server ends them. */
export function parsed(text: string): { events: ServerEvent[]; rest: string } {
  const parts = text.split("\n\n");
  const rest = parts.pop() ?? "";
  const events = parts.flatMap((part): ServerEvent[] => {
    let name = "message";
    const data: string[] = [];
    for (const line of part.split("\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data.push(line.slice(6));
    }
    return data.length > 0 ? [{ name, data: data.join("\n") }] : [];
  });
  return { events, rest };
}

/**
 * The events at an address of the API, as many at once as came together.
 *
 * @throws ApiError where the server refuses, at first or later; Unreachable where the connection is lost.
 */
export async function* events(address: string, signal: AbortSignal): AsyncGenerator<ServerEvent[]> {
  try {
    const response = await fetch(new URL(address, BASE), { signal, headers: { Accept: "text/event-stream" } });
    if (!response.ok) throw ApiError.of(response, await response.json().catch(() => null));
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const found = parsed(rest + value);
      rest = found.rest;
      const failure = found.events.find((event) => event.name === "error");
      if (failure) throw ApiError.of(new Response(null, { status: 503 }), record(JSON.parse(failure.data)));
      if (found.events.length > 0) yield found.events;
    }
  } catch (error) {
    if (signal.aborted || error instanceof ApiError) throw error;
    throw new Unreachable("the connection is lost", { cause: error });
  }
}
