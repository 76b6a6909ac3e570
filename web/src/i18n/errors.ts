/**
 * What went wrong, for people. The server's words are exact and in English. In other languages a sentence of our own
 * says what happened and what to do next, by the refusal's code or at least by its kind; the server's words stand below
 * it, since only they say which file, port or name.
 */
import { ApiError, type Problem, type Sentence, UNEXPECTED, Unreachable } from "../api/errors";
import { visible } from "../lib/visible";
import { i18n, t } from "./index.svelte";
import type { Message } from "./types";

/** A refusal in words. */
export interface Told {
  what: string;
  nextStep: string;
  /** The server's own words, where those above are others. */
  original: string;
}

export interface Explained extends Told {
  title: string;
  problems: readonly Problem[];
  code: string;
}

/** A reason or another sentence, in the language that is spoken; the server's words alone where there are no others. */
export function tell({ code, message, next_step = "", values }: Sentence): Told {
  if (i18n.language === "en") return { what: visible(message), nextStep: visible(next_step), original: "" };
  const original = visible(`${message} ${next_step}`.trim());
  const [what, nextStep = ""] = i18n.refusal(code) ?? [];
  if (what === undefined) return { what: "", nextStep: "", original };
  // an earlier version may have recorded it without what stands at its places
  if (!values && hasPlaces(what))
    return { what: "", nextStep: next_step && !hasPlaces(nextStep) ? nextStep : "", original };
  const shown = Object.entries(values ?? {}).map(([name, value]) => [name, written(name, value)] as const);
  const filled = Object.fromEntries(shown.map(([name, { text }]) => [name, text]));
  return {
    what: i18n.fill(what, filled),
    nextStep: next_step && i18n.fill(nextStep, filled),
    original: values && shown.every(([, { whole }]) => whole) ? "" : original,
  };
}

function hasPlaces(message: Message): boolean {
  return /\{[a-z_]+\}/.test(typeof message === "string" ? message : message.other);
}

/** What stands at a place, and whether words of our own tell all of it. */
function written(name: string, value: unknown): { text: string | number; whole: boolean } {
  if (typeof value === "number") return { text: measured(name, value), whole: true };
  if (Array.isArray(value)) {
    const each = value.map((one) => written(name, one));
    const texts = each.map(({ text }) => String(text));
    return {
      text: texts.join(texts[0]?.endsWith(".") ? " " : ", "),
      whole: each.every(({ whole }) => whole),
    };
  }
  if (typeof value === "object" && value !== null) {
    const { code, message, next_step, values } = value as Sentence;
    const { what, original } = tell({ code, message, values: values ?? null, next_step: next_step ?? "" });
    return { text: what || visible(message), whole: !original };
  }
  const text = visible(String(value));
  return { text: isTime(text) ? i18n.format.time(text) : text, whole: true };
}

function measured(name: string, value: number): string | number {
  if (name.endsWith("bytes")) return i18n.format.size(value);
  return name.endsWith("seconds") ? i18n.format.duration(value) : value;
}

/** A time as the server writes it; a tag or a branch can look much like one, and be none that can be told. */
function isTime(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(text) && !Number.isNaN(Date.parse(text));
}

/**
 * @param title what failed, in words of our own, where more is known than the refusal. What has no words besides is told by
 * the server's alone: an operation that failed may have changed what a refusal of its kind would have left alone.
 */
export function explain(error: unknown, title?: string): Explained {
  if (error instanceof Unreachable) return plain(t("error.unreachable"));
  if (!(error instanceof ApiError)) return plain(t("error.own_defect"));
  const { code, problems, status } = error;
  if (code === UNEXPECTED) return unexpected(error, title);
  const told = tell({ code, message: error.message, next_step: error.nextStep, values: error.values });
  // where there is one reason the refusal mostly says just that
  const reasons = problems.length === 1 && problems[0]?.message === error.message ? [] : problems;
  if (title !== undefined) return { ...told, title, problems: reasons, code };
  return { ...told, title: told.what || kind(status), what: "", problems: reasons, code };
}

/** Not Holdfast's own answer: a proxy's before it, which knows nothing of codes and next steps. */
function unexpected({ status, message, code }: ApiError, title?: string): Explained {
  const away = status === 502 || status === 503 || status === 504;
  const what = away ? t("error.unreachable") : kind(status);
  const nextStep = status === 413 ? t("error.proxy_limit") : t("error.proxy");
  return { title: title ?? what, what: title ? what : "", nextStep, original: visible(message), problems: [], code };
}

function plain(title: string): Explained {
  return { title, what: "", original: "", nextStep: "", problems: [], code: "" };
}

function kind(status: number): string {
  switch (status) {
    case 400:
      return t("error.malformed");
    case 401:
      return t("error.unauthorized");
    case 403:
      return t("error.forbidden");
    case 404:
      return t("error.not_found");
    case 409:
    case 412:
      return t("error.conflict");
    case 413:
      return t("error.too_large");
    case 422:
    case 428:
      return t("error.refused");
    case 429:
      return t("error.too_many");
    case 502:
    case 503:
    case 504:
      return t("error.unavailable");
    case 507:
      return t("error.no_space");
    default:
      return t("error.defect");
  }
}
