import { expect, test } from "vitest";
import { Deed, Deeds } from "./keys";

/** Presses of one button, with the keys that were sent; `begun` is lost where it is `null`. */
function button() {
  const deed = new Deed();
  const keys: string[] = [];
  const press = (shown: string, begun: string | null) =>
    deed.begin(
      shown,
      (key) => (keys.push(key), begun ? Promise.resolve({ id: begun }) : Promise.reject(Error("lost"))),
    );
  return { deed, press, told: () => keys.map((key) => keys.indexOf(key)) };
}

test("what is pressed again after a lost answer, or while it goes on, is the same deed", async () => {
  const { press, told } = button();
  await expect(press("", null)).rejects.toThrow("lost");
  expect(await press("", "a")).toBe("a");
  await press("a", "a");
  expect(told()).toEqual([0, 0, 0]);
});

test("once it has ended it is another one, whatever else ends meanwhile", async () => {
  const { deed, press, told } = button();
  await press("", "a");
  deed.ended("b");
  await press("a", "a");
  deed.ended("a");
  await press("a", "c");
  expect(told()).toEqual([0, 0, 2]);
});

test("once something else was begun it is another one, and lost only once", async () => {
  const { press, told } = button();
  await press("", "a");
  await expect(press("b", null)).rejects.toThrow("lost");
  await press("b", "c");
  expect(told()).toEqual([0, 1, 1]);
});

test("what is about another thing is another deed, whatever became of the first", async () => {
  const deeds = new Deeds();
  const keys: string[] = [];
  const press = (what: string, shown: string, begun: string | null) =>
    deeds
      .of(what)
      .begin(shown, (key) => (keys.push(key), begun ? Promise.resolve({ id: begun }) : Promise.reject(Error("lost"))));
  await expect(press("one", "", null)).rejects.toThrow("lost");
  await expect(press("other", "", null)).rejects.toThrow("lost");
  await press("one", "", "a");
  await press("one", "a", "a");
  deeds.ended("a");
  await press("one", "a", "b");
  expect(keys.map((key) => keys.indexOf(key))).toEqual([0, 1, 0, 0, 4]);
});
