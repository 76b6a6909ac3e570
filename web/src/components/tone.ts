/** What a colour says: `quiet` nothing, `good` all is well, `warn` somebody should look, `bad` it failed, `busy` it is at work. */
export type Tone = "quiet" | "good" | "warn" | "bad" | "busy";
