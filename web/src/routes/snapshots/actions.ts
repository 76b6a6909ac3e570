/** What can be done with a snapshot of the list. */
export type SnapshotAction = "restore" | "verify" | "drill" | "clone" | "export" | "pin" | "unpin" | "delete";
