import { cleanup, fireEvent, render } from "@testing-library/svelte";
import { createRawSnippet } from "svelte";
import { afterEach, beforeAll, expect, test, vi } from "vitest";
import { i18n } from "../i18n/index.svelte";
import Dialog from "./Dialog.svelte";

const children = createRawSnippet(() => ({ render: () => "<p>What it is about.</p>" }));

beforeAll(() => i18n.speak("en"));
afterEach(cleanup);

test("a dialog that is opened again before word comes that it was closed stays open", async () => {
  const onclose = vi.fn();
  const { rerender } = render(Dialog, { title: "Restore", open: true, onclose, children });
  const dialog = document.querySelector("dialog")!;
  await rerender({ open: false });
  await rerender({ open: true });
  await fireEvent(dialog, new Event("close"));
  expect([dialog.open, onclose.mock.calls.length]).toEqual([true, 0]);
  dialog.removeAttribute("open"); // as a browser does it at the second Escape, which can't be refused
  await fireEvent(dialog, new Event("close"));
  expect(onclose).toHaveBeenCalledTimes(1);
});
