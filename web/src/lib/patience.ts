/**
 * What is only read is asked for again when the connection breaks: a server that starts anew, a network that changes
 * (with Docker on the browser's own machine, at each container that comes or goes).
 */

/** Milliseconds before each further try. */
const PAUSES = [200, 1000];

/** Do it, and again as long as `worthwhile` says so of how it failed. */
export async function patiently<T>(attempt: () => Promise<T>, worthwhile: () => boolean = () => true): Promise<T> {
  for (const pause of PAUSES) {
    try {
      return await attempt();
    } catch (error) {
      if (!worthwhile()) throw error;
    }
    await new Promise((resume) => setTimeout(resume, pause));
  }
  return await attempt();
}

/** Fetch, patiently where that changes nothing on the server. An answer is an answer, whatever it says. */
export async function patientFetch(request: Request): Promise<Response> {
  if (request.method !== "GET") return await fetch(request);
  return await patiently(
    () => fetch(request.clone()),
    () => !request.signal.aborted,
  );
}
