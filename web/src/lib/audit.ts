/** What stands in the audit log, in words. */
import { i18n, type Key, t } from "../i18n/index.svelte";

const ENDED = /^(.+)_ended$/;

/** What was done: a request by its own name, the end of an operation by what it was. What is not known, by its code. */
export function actionName(action: string): string {
  const kind = ENDED.exec(action)?.[1];
  if (kind === undefined) return i18n.text(`audit_action.${action}` as Key) || action;
  const what = i18n.text(`kind.${kind}` as Key);
  return what ? t("audit.ended", { what }) : action;
}
