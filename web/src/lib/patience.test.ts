import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { patientFetch } from "./patience";

const ADDRESS = "http://127.0.0.1/api/session";
const fetched = vi.fn<(request: Request) => Promise<Response>>();

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("fetch", fetched.mockReset());
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("what is only read is asked for again when the connection breaks", async () => {
  fetched.mockRejectedValueOnce(new TypeError("network changed")).mockResolvedValueOnce(new Response("here"));
  const asked = patientFetch(new Request(ADDRESS));
  await vi.runAllTimersAsync();
  expect(await (await asked).text()).toBe("here");
  expect(fetched).toHaveBeenCalledTimes(2);
});

test("a server that stays away is told after three tries", async () => {
  fetched.mockRejectedValue(new TypeError("gone"));
  const asked = expect(patientFetch(new Request(ADDRESS))).rejects.toThrow("gone");
  await vi.runAllTimersAsync();
  await asked;
  expect(fetched).toHaveBeenCalledTimes(3);
});

test("what may have changed something is never sent twice", async () => {
  fetched.mockRejectedValue(new TypeError("gone"));
  await expect(patientFetch(new Request(ADDRESS, { method: "POST" }))).rejects.toThrow("gone");
  expect(fetched).toHaveBeenCalledTimes(1);
});

test("a refusal is an answer", async () => {
  fetched.mockResolvedValue(new Response("", { status: 503 }));
  expect((await patientFetch(new Request(ADDRESS))).status).toBe(503);
  expect(fetched).toHaveBeenCalledTimes(1);
});

test("what nobody waits for any more is given up", async () => {
  const given = new AbortController();
  fetched.mockImplementation(() => {
    given.abort();
    return Promise.reject(new DOMException("aborted", "AbortError"));
  });
  await expect(patientFetch(new Request(ADDRESS, { signal: given.signal }))).rejects.toThrow("aborted");
  expect(fetched).toHaveBeenCalledTimes(1);
});
