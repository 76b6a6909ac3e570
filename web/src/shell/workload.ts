/** The workload whose tabs are shown, for whatever is shown there. */
import { getContext, setContext } from "svelte";
import type { StatusView } from "../api/client";

const KEY = Symbol("workload");

export interface ShownWorkload {
  /** How it is doing; kept up to date. */
  readonly status: StatusView;
}

export function setWorkload(workload: ShownWorkload): void {
  setContext(KEY, workload);
}

export function getWorkload(): ShownWorkload {
  return getContext(KEY);
}
