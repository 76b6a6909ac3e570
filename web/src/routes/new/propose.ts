/** What becomes of the few things that somebody says of an image: a declaration to go on from. */

export interface Wish {
  image: string;
  name: string;
  /** The container's port that others reach, and the host's for it. */
  port: string;
  hostPort: string;
  /** The directory in the container whose content is kept. */
  data: string;
}

/** A name from an image's: `ghcr.io/wiki/wiki.js:2` gives `wiki-js`. */
export function nameOf(image: string): string {
  const last = image.split("/").at(-1)?.split(/[:@]/)[0] ?? "";
  return last
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 63)
    .replace(/-+$/, "");
}

export function declarationOf(wish: Wish): Record<string, unknown> {
  const port = wish.port.trim();
  const hostPort = wish.hostPort.trim();
  const data = wish.data.trim();
  return {
    name: wish.name.trim() || nameOf(wish.image),
    source: { type: "image", image: wish.image.trim() },
    ...(port && { ports: [hostPort ? `${hostPort}:${port}` : port] }),
    ...(data && { volumes: [{ target: data, scope: "stage", source: "data" }] }),
    ...(port && { health: { type: "tcp", port: Number(port) } }),
  };
}

/** `NAME=value` lines, as an `.env` file has them: without interpolation, quotes around a value taken off. */
export function variablesOf(text: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const line of text.split(/\r?\n/)) {
    const [, name, value] = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) found[name] = value.replace(/^(["'])(.*)\1$/, "$2");
  }
  return found;
}

/** Names that are written beside each other, however they are separated. */
export function namesOf(text: string): string[] {
  return [...new Set(text.split(/[\s,]+/).filter(Boolean))];
}

/** What is proposed without the comments at its head: they are the findings, which are told beside it. */
export function uncommented(yaml: string): string {
  return yaml.replace(/^(?:#.*\n|\n)+/, "");
}
