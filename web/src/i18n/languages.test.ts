import { svelte } from "@sveltejs/vite-plugin-svelte";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createServer } from "vite";
import { expect, test } from "vitest";

test("a third language is one file: nothing else is edited, and it is offered, spoken, and has words for refusals", async () => {
  const place = mkdtempSync(join(tmpdir(), "holdfast-language-"));
  cpSync("src", join(place, "src"), { recursive: true });
  cpSync("tsconfig.json", join(place, "tsconfig.json"));
  symlinkSync(resolve("node_modules"), join(place, "node_modules"));
  const english = readFileSync("src/i18n/languages/en.ts", "utf8");
  writeFileSync(
    join(place, "src/i18n/languages/eo.ts"),
    english
      .replace('"common.retry": "Try again"', '"common.retry": "Provu denove"')
      .replace("errors: ErrorWords = {}", 'errors: ErrorWords = { cancelled: ["Nuligita.", "Provu denove."] }'),
  );
  const server = await createServer({
    root: place,
    configFile: false,
    plugins: [svelte({ configFile: false })],
    server: { middlewareMode: true, watch: null, hmr: false },
    optimizeDeps: { noDiscovery: true },
    logLevel: "error",
  });
  try {
    const { render } = await server.ssrLoadModule("svelte/server");
    const { default: Preferences } = await server.ssrLoadModule("/src/shell/Preferences.svelte");
    expect(render(Preferences).body).toMatch(/<option value="eo" lang="eo"[^>]*>Esperanto</);
    const { LANGUAGES } = await server.ssrLoadModule("/src/i18n/languages.ts");
    expect((await LANGUAGES.eo.messages())["common.retry"]).toBe("Provu denove");
    expect((await LANGUAGES.eo.errors()).cancelled[0]).toBe("Nuligita.");
  } finally {
    await server.close();
    rmSync(place, { recursive: true });
  }
}, 60_000);
