/** Numbers, times, sizes and durations as a language writes them. */

const STEPS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ["year", 31_557_600],
  ["month", 2_629_800],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];

export class Format {
  #sizes: readonly string[];
  #numbers: Intl.NumberFormat;
  #plurals: Intl.PluralRules;
  #times: Intl.DateTimeFormat;
  #exact: Intl.DateTimeFormat;
  #days: Intl.DateTimeFormat;
  #clock: Intl.DateTimeFormat;
  #hours: Intl.DateTimeFormat;
  #shortDays: Intl.DateTimeFormat;
  #relative: Intl.RelativeTimeFormat;

  /** @param sizes the units of sizes, each 1024 of the one before, with spaces between. */
  constructor(
    readonly language: string,
    sizes: string,
  ) {
    this.#sizes = sizes.split(" ");
    this.#numbers = new Intl.NumberFormat(language);
    this.#plurals = new Intl.PluralRules(language);
    this.#times = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
    this.#exact = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" });
    this.#days = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
    this.#clock = new Intl.DateTimeFormat(language, { timeStyle: "medium" });
    this.#hours = new Intl.DateTimeFormat(language, { timeStyle: "short" });
    this.#shortDays = new Intl.DateTimeFormat(language, { day: "numeric", month: "short" });
    this.#relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  }

  plural(count: number): Intl.LDMLPluralRule {
    return this.#plurals.select(count);
  }

  number(value: number): string {
    return this.#numbers.format(value);
  }

  /** A size, by powers of 1024: `293.7 KiB`. */
  size(bytes: number): string {
    const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), this.#sizes.length - 1);
    const value = bytes / 1024 ** power;
    const digits = power === 0 || value >= 100 ? 0 : 1;
    return `${value.toLocaleString(this.language, { maximumFractionDigits: digits })} ${this.#sizes[power]}`;
  }

  /** Date and time to the minute. */
  time(at: string | Date): string {
    return this.#times.format(new Date(at));
  }

  /** The whole of it, with weekday, seconds and zone. */
  exactTime(at: string | Date): string {
    return this.#exact.format(new Date(at));
  }

  day(at: string | Date): string {
    return this.#days.format(new Date(at));
  }

  /** Time of day, to the second. */
  clock(at: string | Date): string {
    return this.#clock.format(new Date(at));
  }

  /** Time of day, to the minute. */
  hour(at: string | Date): string {
    return this.#hours.format(new Date(at));
  }

  /** Day and time without the year, where there is little room. */
  shortTime(at: string | Date): string {
    return `${this.shortDay(at)}, ${this.hour(at)}`;
  }

  /** Day and month, where there is little room. */
  shortDay(at: string | Date): string {
    return this.#shortDays.format(new Date(at));
  }

  /** How long ago, or in how long: `3 hours ago`. */
  relative(at: string | Date, now: number): string {
    const seconds = (new Date(at).getTime() - now) / 1000;
    const size = Math.abs(seconds);
    const [unit, length] = STEPS.find(([, each]) => size >= each) ?? ["second", 1];
    // nobody wants to see seconds count up in a list
    return unit === "second"
      ? this.#relative.format(0, "minute")
      : this.#relative.format(Math.trunc(seconds / length), unit);
  }

  /** How long something took: `0.52 s`, `3 min 20 s`, `2 h 5 min`. */
  duration(seconds: number): string {
    const part = (value: number, unit: string, digits = 0) =>
      value.toLocaleString(this.language, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: digits });
    if (seconds < 10) return part(seconds, "second", seconds < 1 ? 2 : 1);
    const whole = Math.round(seconds);
    if (whole < 60) return part(whole, "second");
    const [unit, below, length, least] =
      whole < 3600
        ? (["minute", "second", 60, 1] as const)
        : whole < 86_400
          ? (["hour", "minute", 3600, 60] as const)
          : (["day", "hour", 86_400, 3600] as const);
    const rest = Math.floor((whole % length) / least);
    return [part(Math.floor(whole / length), unit), ...(rest ? [part(rest, below)] : [])].join(" ");
  }

  /** A share as percent. */
  percent(share: number): string {
    return share.toLocaleString(this.language, { style: "percent", maximumFractionDigits: 0 });
  }

  /** Several things in one sentence: `a, b and c`. */
  list(items: readonly string[]): string {
    return new Intl.ListFormat(this.language).format(items);
  }
}
