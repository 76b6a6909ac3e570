/** What doctor looked at, in words: its checks are named by one word, some with the place that they are about. */
import { type PlainKey, t } from "../i18n/index.svelte";

const CHECKS: Readonly<Record<string, PlainKey>> = {
  socket: "doctor_check.socket",
  engine: "doctor_check.engine",
  edge: "doctor_check.edge",
  clock: "doctor_check.clock",
  database: "doctor_check.database",
  space: "doctor_check.space",
  volumes: "doctor_check.volumes",
  snapshots: "doctor_check.snapshots",
  schedules: "doctor_check.schedules",
  notifications: "doctor_check.notifications",
  backups: "doctor_check.backups",
  restores: "doctor_check.restores",
  secrets: "doctor_check.secrets",
  leftovers: "doctor_check.leftovers",
};

export function checkWords(check: string): string {
  const [kind = "", ...place] = check.split(" ");
  const words = CHECKS[kind];
  return words ? [t(words), ...place].join(" ") : check;
}
