/**
 * What went wrong, for people. The server's words are exact and in English. In other languages a sentence of our own
 * says what kind of refusal it is, and the server's words stand below it, since only they say which file, port or name.
 */
import { ApiError, type Problem, Unreachable } from "../api/errors";
import { t } from "./index.svelte";
import type { Language } from "./languages";

export interface Explained {
  title: string;
  /** The server's own words, where the title is not them already. */
  original: string;
  nextStep: string;
  problems: readonly Problem[];
  code: string;
}

/** @param title what failed, in words of our own, where more is known than the kind of refusal. */
export function explain(error: unknown, language: Language, title?: string): Explained {
  if (error instanceof Unreachable) return plain(t("error.unreachable"));
  if (!(error instanceof ApiError)) return plain(t("error.own_defect"));
  const own = title ?? (language === "en" ? undefined : kind(error.status));
  return {
    title: own ?? error.message,
    original: own === undefined ? "" : error.message,
    nextStep: error.nextStep,
    problems: error.problems,
    code: error.code,
  };
}

function plain(title: string): Explained {
  return { title, original: "", nextStep: "", problems: [], code: "" };
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
