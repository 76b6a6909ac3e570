import { expect, test } from "vitest";
import { Editing, type Written } from "./editing.svelte";

const at = (minute: number, text: string, by = "ann"): Written => ({
  text,
  revision: `of ${text}`,
  by,
  at: `2026-05-04T03:0${minute}:00Z`,
  told: `2026-05-04T03:0${minute}:00Z`,
});

function edited(): Editing {
  const editing = new Editing();
  editing.found(at(1, "one"));
  editing.draft.text = "mine";
  return editing;
}

test("what nobody edits follows what others apply", () => {
  const editing = new Editing();
  editing.found(at(1, "one"));
  editing.found(at(2, "two"));
  expect([editing.draft.text, editing.base?.revision, editing.changed]).toEqual(["two", "of two", false]);
});

test("what somebody writes stays, made from what it was made from, and what others did is known", () => {
  const editing = edited();
  editing.found(at(2, "two", "bob"));
  expect([editing.draft.text, editing.base?.revision, editing.theirs?.by]).toEqual(["mine", "of one", "bob"]);
  editing.found(at(3, "one"));
  expect(editing.theirs).toBeUndefined();
});

test("who takes theirs has theirs, and goes on from it", () => {
  const editing = edited();
  editing.found(at(2, "two"));
  editing.discard();
  expect([editing.draft.text, editing.base?.revision, editing.theirs]).toEqual(["two", "of two", undefined]);
});

test("who discards what nobody else changed has what it was made from", () => {
  const editing = edited();
  editing.discard();
  expect([editing.draft.text, editing.changed]).toEqual(["one", false]);
});

test("an answer from before what was applied here takes nothing back", () => {
  const editing = edited();
  editing.applied(at(3, "mine"));
  editing.found(at(1, "one"));
  expect([editing.draft.text, editing.base?.revision]).toEqual(["mine", "of mine"]);
});
