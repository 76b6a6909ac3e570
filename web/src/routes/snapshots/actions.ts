/** What can be done with a snapshot of the list. */
export type SnapshotAction = "restore" | "verify" | "drill" | "pin" | "unpin" | "delete";
