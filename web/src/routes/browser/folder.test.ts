import { expect, test, vi } from "vitest";
import type { FileView } from "../../api/client";
import { Folder } from "./folder.svelte";

/** A folder of so many names, in pages of 200. */
function folderOf(count: number) {
  const names = Array.from({ length: count }, (_, index) => ({ name: String(index), path: String(index) }) as FileView);
  const ask = vi.fn(async (after: string) => {
    const from = after === "" ? 0 : Number(after) + 1;
    const items = names.slice(from, from + 200);
    return { items, next_after: from + 200 < count ? items.at(-1)!.name : null };
  });
  return { ask, folder: new Folder(ask, new AbortController().signal) };
}

test("of a hundred thousand names as many pages are asked for as are looked at", async () => {
  const { ask, folder } = folderOf(100_000);
  await folder.need(50);
  expect([folder.items.length, folder.more, ask.mock.calls.length]).toEqual([200, true, 1]);
  await folder.need(150);
  expect(ask.mock.calls.length).toBe(1);
  await folder.need(1001);
  expect([folder.items.length, ask.mock.calls.length]).toEqual([1200, 6]);
  expect(folder.items.map((each) => each.name)).toEqual(Array.from({ length: 1200 }, (_, index) => String(index)));
});

test("what is wanted while a page comes is asked for once, after it", async () => {
  const { ask, folder } = folderOf(450);
  await Promise.all([folder.need(10), folder.need(300), folder.need(5000)]);
  expect([folder.items.length, folder.more, ask.mock.calls.length]).toEqual([450, false, 3]);
});

test("a failure keeps what is there, and is gone on from", async () => {
  const { ask, folder } = folderOf(450);
  await folder.need(1);
  ask.mockRejectedValueOnce(new Error("gone"));
  await folder.need(450);
  expect([folder.items.length, (folder.error as Error).message]).toEqual([200, "gone"]);
  folder.retry();
  await vi.waitFor(() => expect(folder.items.length).toBe(450));
});
