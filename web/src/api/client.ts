/**
 * The server's API, typed by its own description (`schema.d.ts` is made from `docs/reference/openapi.json`).
 *
 * Addresses are relative to where the interface is served, so that it works below any path. Who is signed in is in a
 * cookie that scripts can't read; the header keeps foreign pages from sending what changes something.
 */
import createClient, { type FetchResponse } from "openapi-fetch";
import { patientFetch } from "../lib/patience";
import { ApiError, Unreachable } from "./errors";
import type { paths } from "./schema";

export type * from "./schema";

/** Where the interface is served, with a slash at its end. */
export const BASE = new URL(".", document.baseURI);

export const api = createClient<paths>({
  baseUrl: BASE.href.replace(/\/$/, ""),
  headers: { "X-Holdfast-Request": "1" },
  fetch: patientFetch,
});

type Answer<T extends Record<string | number, any>, O, M extends `${string}/${string}`> = Promise<
  FetchResponse<T, O, M>
>;

/**
 * The document of an answer.
 *
 * @throws ApiError where the server refuses, Unreachable where it doesn't answer.
 */
export async function answered<T extends Record<string | number, any>, O, M extends `${string}/${string}`>(
  asked: Answer<T, O, M>,
): Promise<NonNullable<FetchResponse<T, O, M>["data"]>> {
  let answer: FetchResponse<T, O, M>;
  try {
    answer = await asked;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Unreachable("the server does not answer", { cause: error });
  }
  if (!answer.response.ok) throw ApiError.of(answer.response, answer.error);
  return answer.data as NonNullable<FetchResponse<T, O, M>["data"]>;
}
