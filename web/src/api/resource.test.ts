import { expect, test, vi } from "vitest";
import { Resource } from "./resource.svelte";

/** Answers one after the other, each when it is told to. */
function answers() {
  const waiting: { resolve: (value: string) => void; reject: (error: unknown) => void; signal: AbortSignal }[] = [];
  const load = (signal: AbortSignal) =>
    new Promise<string>((resolve, reject) => void waiting.push({ resolve, reject, signal }));
  return { waiting, resource: new Resource(load) };
}

test("what is there stays while it is loaded again, and when that fails", async () => {
  const { waiting, resource } = answers();
  resource.restart();
  waiting[0]?.resolve("one");
  await vi.waitFor(() => expect(resource.value).toBe("one"));
  resource.refresh();
  expect([resource.loading, resource.value]).toEqual([true, "one"]);
  waiting[1]?.reject(new Error("gone"));
  await vi.waitFor(() => expect(resource.error).toBeInstanceOf(Error));
  expect(resource.value).toBe("one");
});

test("however often it is told to look again meanwhile, it looks once more", async () => {
  const { waiting, resource } = answers();
  resource.restart();
  for (let times = 0; times < 5; times++) resource.refresh();
  expect(waiting.length).toBe(1);
  waiting[0]?.resolve("old");
  await vi.waitFor(() => expect(waiting.length).toBe(2));
  waiting[1]?.resolve("new");
  await vi.waitFor(() => expect(resource.value).toBe("new"));
  expect([waiting.length, resource.loading]).toEqual([2, false]);
});

test("what was asked for another thing is given up, and its answer never shown", async () => {
  const { waiting, resource } = answers();
  resource.restart();
  resource.restart();
  expect(waiting[0]?.signal.aborted).toBe(true);
  waiting[1]?.resolve("second");
  await vi.waitFor(() => expect(resource.value).toBe("second"));
  waiting[0]?.resolve("first");
  await Promise.resolve();
  expect(resource.value).toBe("second");
});
