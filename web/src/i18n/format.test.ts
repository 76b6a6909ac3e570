import { expect, test } from "vitest";
import { Format } from "./format";

const en = new Format("en", "B KiB MiB GiB TiB PiB");
const ru = new Format("ru", "Б КиБ МиБ ГиБ ТиБ ПиБ");
/** Narrow and non-breaking spaces as plain ones. */
const plain = (text: string) => text.replace(/\s/g, " ");

test("sizes go by powers of 1024, in the units of the language", () => {
  expect([0, 1023, 1024, 300_749, 5 * 2 ** 30, 2 ** 51].map((size) => en.size(size))).toEqual([
    "0 B",
    "1,023 B",
    "1 KiB",
    "294 KiB",
    "5 GiB",
    "2 PiB",
  ]);
  expect(ru.size(1536)).toBe("1,5 КиБ");
});

test("durations are as exact as they are short", () => {
  expect([0.523, 4.26, 42.4, 60, 200, 7500, 90_000].map((each) => plain(en.duration(each)))).toEqual([
    "0.52 sec",
    "4.3 sec",
    "42 sec",
    "1 min",
    "3 min 20 sec",
    "2 hr 5 min",
    "1 day 1 hr",
  ]);
  expect(plain(ru.duration(200))).toBe("3 мин 20 с");
});

test("how long ago is told in the largest unit, and seconds are no unit for that", () => {
  const now = Date.parse("2026-11-26T12:00:00Z");
  const before = (seconds: number) => new Date(now - seconds * 1000);
  expect([5, 90, 7200, 200_000].map((seconds) => en.relative(before(seconds), now))).toEqual([
    "this minute",
    "1 minute ago",
    "2 hours ago",
    "2 days ago",
  ]);
  expect(ru.relative(before(7200), now)).toBe("2 часа назад");
  expect(en.relative(before(-7200), now)).toBe("in 2 hours");
});

test("where there is little room, times are short", () => {
  const at = new Date(2026, 10, 26, 20, 6, 3);
  expect([en.shortTime(at), en.hour(at), en.shortDay(at)].map(plain)).toEqual(["Nov 26, 8:06 PM", "8:06 PM", "Nov 26"]);
  expect([ru.shortTime(at), ru.hour(at), ru.shortDay(at)].map(plain)).toEqual(["26 нояб., 20:06", "20:06", "26 нояб."]);
});

test("early hours are written the same way wherever a time is told", () => {
  const at = new Date(2026, 10, 26, 2, 7);
  expect(plain(ru.shortTime(at))).toBe("26 нояб., 02:07");
  expect(plain(ru.time(at))).toContain("02:07");
});
