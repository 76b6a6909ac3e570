/** What stands in the audit log, in words. */
import { i18n, type Key, t } from "../i18n/index.svelte";

const ENDED = /^(.+)_ended$/;

export interface Action {
  code: string;
  name: string;
}

/** What was done: a request by its own name, the end of an operation by what it was. What is not known, by its code. */
export function actionName(action: string): string {
  const kind = ENDED.exec(action)?.[1];
  if (kind === undefined) return i18n.text(`audit_action.${action}` as Key) || action;
  const what = i18n.text(`kind.${kind}` as Key);
  return what ? t("audit.ended", { what }) : action;
}

/** All that can stand there, each kind in the order of the reader's alphabet. */
export function actions(): { requests: Action[]; ends: Action[] } {
  const { compare } = new Intl.Collator(i18n.language);
  const named = (codes: string[]): Action[] =>
    codes.map((code) => ({ code, name: actionName(code) })).sort((a, b) => compare(a.name, b.name));
  return {
    requests: named(i18n.below("audit_action.")),
    ends: named(i18n.below("kind.").map((kind) => `${kind}_ended`)),
  };
}
