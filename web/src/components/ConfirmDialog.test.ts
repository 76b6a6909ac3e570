import { cleanup, fireEvent, render, screen } from "@testing-library/svelte";
import { createRawSnippet } from "svelte";
import { afterEach, beforeAll, expect, test, vi } from "vitest";
import { i18n } from "../i18n/index.svelte";
import ConfirmDialog from "./ConfirmDialog.svelte";

const children = createRawSnippet(() => ({ render: () => "<p>All data of notes goes.</p>" }));

beforeAll(() => i18n.speak("en"));
afterEach(cleanup);

function ask(props: {
  typed?: string;
  blocked?: boolean;
  onconfirm?: (key: string) => Promise<void>;
  onclose?: () => void;
}) {
  render(ConfirmDialog, {
    title: "Delete notes",
    open: true,
    confirm: "Delete",
    onconfirm: async () => {},
    onclose: () => {},
    children,
    ...props,
  });
  return screen.getByRole<HTMLButtonElement>("button", { name: "Delete" });
}

test("nothing can be confirmed before the name is typed, exactly", async () => {
  const onconfirm = vi.fn(async () => {});
  const button = ask({ typed: "notes", onconfirm });
  const field = screen.getByRole("textbox", { name: "Type notes to confirm" });
  for (const text of ["", "note", "Notes"]) {
    await fireEvent.input(field, { target: { value: text } });
    expect(button.disabled).toBe(true);
    await fireEvent.submit(field.closest("form")!);
  }
  expect(onconfirm).not.toHaveBeenCalled();
  await fireEvent.input(field, { target: { value: "notes" } });
  await fireEvent.click(button);
  expect(onconfirm).toHaveBeenCalledTimes(1);
});

test("it is sent once, however often it is pressed, and can't be closed meanwhile", async () => {
  let settle = () => {};
  const onconfirm = vi.fn(() => new Promise<void>((resolve) => (settle = resolve)));
  const onclose = vi.fn();
  const button = ask({ onconfirm, onclose });
  await fireEvent.click(button);
  await fireEvent.click(button);
  await fireEvent.submit(document.querySelector("form")!);
  await fireEvent(document.querySelector("dialog")!, new Event("cancel", { cancelable: true }));
  expect(onconfirm).toHaveBeenCalledTimes(1);
  expect(onclose).not.toHaveBeenCalled();
  settle();
  await vi.waitFor(() => expect(button.getAttribute("aria-busy")).toBeNull());
});

test("what is refused is told in the dialog, and can be tried again", async () => {
  const button = ask({ onconfirm: () => Promise.reject(new Error("no")) });
  await fireEvent.click(button);
  expect((await screen.findByRole("alert")).textContent).toContain("defect of its own");
  expect(button.disabled).toBe(false);
});

test("what is tried again is the same deed for the server, and what is asked anew or about another thing is not", async () => {
  const keys: string[] = [];
  const props = {
    title: "Delete notes",
    open: true,
    confirm: "Delete",
    intent: "a",
    onconfirm: (key: string) => (keys.push(key), Promise.reject(new Error("lost"))),
    onclose: () => {},
    children,
  };
  const { rerender } = render(ConfirmDialog, props);
  const press = () => fireEvent.submit(document.querySelector("form")!);
  await press();
  await press();
  await rerender({ ...props, intent: "b" });
  await press();
  await rerender({ ...props, open: false });
  await rerender(props);
  await press();
  expect(keys.map((key) => keys.indexOf(key))).toEqual([0, 0, 2, 3]);
});

test("what is blocked can't be confirmed, nor is a name asked for", () => {
  expect(ask({ typed: "notes", blocked: true }).disabled).toBe(true);
  expect(screen.queryByRole("textbox")).toBeNull();
});
