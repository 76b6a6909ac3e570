/**
 * Every page: its address, what it is called, and what shows it. A page is a directory of its own below `routes/`, and
 * is loaded when somebody goes there.
 */
import type { Component } from "svelte";
import type { Role } from "./api/session.svelte";
import type { PlainKey } from "./i18n/index.svelte";

export type Page = Component<any>;

export interface Route {
  path: string;
  /** What it is called in the navigation, among the tabs and in the window's title. */
  title: PlainKey;
  /** Where it is linked: beside all pages, among a workload's tabs, from within them, or only from other pages. */
  place: "navigation" | "workload" | "within" | "elsewhere";
  /** Who may see it, if not everybody who is signed in. */
  role?: Role;
  load: () => Promise<{ default: Page }>;
}

export const routes: readonly Route[] = [
  { path: "/", title: "overview.title", place: "navigation", load: () => import("./routes/overview/Overview.svelte") },
  {
    path: "/operations",
    title: "operations.title",
    place: "navigation",
    load: () => import("./routes/operations/Operations.svelte"),
  },
  {
    path: "/operations/:operation",
    title: "operations.one",
    place: "elsewhere",
    load: () => import("./routes/operations/OperationPage.svelte"),
  },
  {
    path: "/workloads/:workload",
    title: "snapshots.title",
    place: "workload",
    load: () => import("./routes/snapshots/Snapshots.svelte"),
  },
  {
    path: "/workloads/:workload/timeline",
    title: "timeline.title",
    place: "workload",
    load: () => import("./routes/timeline/Timeline.svelte"),
  },
  {
    path: "/workloads/:workload/snapshots/:snapshot",
    title: "files.page",
    place: "within",
    role: "operator",
    load: () => import("./routes/browser/Browser.svelte"),
  },
  {
    path: "/workloads/:workload/deployments",
    title: "deployments.title",
    place: "workload",
    load: () => import("./routes/deployments/Deployments.svelte"),
  },
  {
    path: "/workloads/:workload/previews",
    title: "previews.title",
    place: "workload",
    load: () => import("./routes/previews/Previews.svelte"),
  },
  {
    path: "/workloads/:workload/logs",
    title: "logs.title",
    place: "workload",
    load: () => import("./routes/logs/Logs.svelte"),
  },
  {
    path: "/workloads/:workload/metrics",
    title: "metrics.title",
    place: "workload",
    load: () => import("./routes/metrics/Metrics.svelte"),
  },
  {
    path: "/new",
    title: "new.title",
    place: "elsewhere",
    role: "operator",
    load: () => import("./routes/new/NewWorkload.svelte"),
  },
  {
    path: "/workloads/:workload/settings",
    title: "settings.title",
    place: "workload",
    load: () => import("./routes/settings/Settings.svelte"),
  },
  {
    path: "/system",
    title: "system.title",
    place: "navigation",
    load: () => import("./routes/system/System.svelte"),
  },
  {
    path: "/system/:part",
    title: "system.title",
    place: "elsewhere",
    load: () => import("./routes/system/System.svelte"),
  },
];
