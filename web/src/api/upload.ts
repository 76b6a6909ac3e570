/** Sending a file that may be large: `fetch` doesn't tell how far it is. */
import { BASE, type OperationView } from "./client";
import { ApiError, Unreachable } from "./errors";

/**
 * Send a file as it is, and get the operation that takes it in.
 *
 * @param path of the API, with its query.
 * @param key by which the server knows it, should it be sent again.
 * @param told how much has been sent, from 0 to 1.
 * @throws ApiError where the server refuses, Unreachable where it doesn't answer, a DOMException where it was called off.
 */
export function upload(
  path: string,
  file: Blob,
  key: string,
  told: (part: number) => void,
  signal: AbortSignal,
): Promise<OperationView> {
  const request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    request.upload.addEventListener("progress", (event) => told(event.loaded / Math.max(event.total, 1)));
    request.addEventListener("load", () => {
      const body = parsed(request.responseText);
      const { status, statusText } = request;
      if (status < 400) resolve(body as OperationView);
      else reject(ApiError.of(new Response(null, { status, statusText }), body));
    });
    request.addEventListener("error", () => reject(new Unreachable("the server does not answer")));
    request.addEventListener("abort", () => reject(new DOMException("called off", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.open("POST", new URL(path, BASE));
    request.setRequestHeader("X-Holdfast-Request", "1");
    request.setRequestHeader("Idempotency-Key", key);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.send(file);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
