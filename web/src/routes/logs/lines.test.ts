import { expect, test } from "vitest";
import { found, Lines, MOST } from "./lines.svelte";

const line = (number: number, at = String(number).padStart(9, "0")) => ({
  at,
  instance: "notes-1",
  stream: "stdout",
  text: `line ${number}`,
});
const lines = (from: number, count: number) => Array.from({ length: count }, (_, index) => line(from + index));

/** Lines that are drawn when the test says so. */
function drawn() {
  const waiting: (() => void)[] = [];
  return {
    log: new Lines((run) => void waiting.push(run)),
    waiting,
    draw: () => waiting.splice(0).forEach((run) => run()),
  };
}

test("however fast lines come, they are shown once for each time that is drawn, and so many are kept", () => {
  const { log, waiting, draw } = drawn();
  for (let batch = 0; batch < 300; batch++) log.add(lines(batch * 100, 100));
  expect(waiting.length).toBe(1);
  draw();
  expect([log.count, log.version]).toEqual([MOST, 1]);
  expect(log.kept.at(-1)?.text).toBe("line 29999");
  log.add(lines(30_000, 5));
  draw();
  expect([log.count, log.kept[0]?.text]).toEqual([MOST, "line 20005"]);
});

test("what is looked at doesn't move while lines are held, and what came meanwhile follows", () => {
  const { log, draw } = drawn();
  log.add(lines(0, 10));
  draw();
  log.hold(true);
  log.add(lines(10, 7));
  draw();
  expect([log.count, log.waiting]).toEqual([10, 7]);
  log.add(lines(100, 3 * MOST));
  draw();
  expect([log.count, log.waiting]).toEqual([10, MOST]);
  log.hold(false);
  expect([log.count, log.waiting, log.kept.at(-1)?.text]).toEqual([MOST, 0, `line ${99 + 3 * MOST}`]);
});

test("after a lost connection nothing is there twice, and nothing is missing", () => {
  const { log, draw } = drawn();
  log.add([line(1), line(2, "5"), line(3, "5")]);
  log.again();
  log.add([line(2, "5"), line(3, "5"), line(4, "5"), line(5, "6"), line(5, "6")]);
  draw();
  expect(log.kept.map((each) => each.text)).toEqual(["line 1", "line 2", "line 3", "line 4", "line 5", "line 5"]);
});

test("what a search finds is told apart, in whatever letters", () => {
  expect(found("An Error: error", "error")).toEqual(["An ", "Error", ": ", "error", ""]);
  expect(found("none", "x")).toEqual(["none"]);
  expect(found("all", "")).toEqual(["all"]);
});
