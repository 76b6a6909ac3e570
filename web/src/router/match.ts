/** Addresses and patterns: `/workloads/:workload/snapshots` matches, and its parts with a colon are parameters. */

export type Params = Readonly<Record<string, string>>;

/** The parameters of an address, or `null` where the pattern doesn't match. */
export function match(pattern: string, path: string): Params | null {
  const wanted = pattern.split("/");
  const given = path.split("/");
  if (wanted.length !== given.length) return null;
  const params: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = given[index] ?? "";
    if (!part.startsWith(":")) {
      if (part !== value) return null;
      continue;
    }
    try {
      params[part.slice(1)] = decodeURIComponent(value);
    } catch {
      return null;
    }
    if (value === "") return null;
  }
  return params;
}

/** The address that a pattern has with these parameters. */
export function fill(pattern: string, params: Params): string {
  return pattern.replace(/:([a-z]+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ""));
}
