/** One workload that is going to be made: its declaration, its secrets, and how far that is. */
import { answered, api, type HoldfastApiSchemasComposeFindingView as FindingView } from "../../api/client";
import { AS_YAML, Draft } from "../../editor/draft.svelte";
import { newKey } from "../../lib/keys";

export type Finding = FindingView;

export class Proposal {
  readonly draft: Draft;
  /** The values of secrets, by their names; never sent back by the server. */
  values = $state<Record<string, string>>({});
  /** Its name, once it is there. */
  made = $state("");
  deployment = $state("");
  error = $state.raw<unknown>();
  #key = newKey();
  /** The text that the server has of it. */
  #applied = "";

  /** The secrets that the declaration names, as the server reads it. */
  readonly secrets: readonly string[] = $derived.by(() =>
    (this.draft.preview?.changes ?? [])
      .filter((change) => change.path.startsWith("secrets.") && change.after !== null)
      .map((change) => change.path.slice("secrets.".length)),
  );

  constructor(
    text: string,
    readonly findings: readonly Finding[],
  ) {
    this.draft = new Draft(text);
  }

  /** Make it, give it its secrets, and deploy it. What has been done already isn't done again. */
  async make({ deploy }: { deploy: boolean }): Promise<void> {
    this.error = undefined;
    try {
      const secrets = this.secrets;
      await this.#apply(this.draft.text);
      const workload = this.made;
      for (const name of secrets) {
        const value = this.values[name];
        if (!value) continue;
        const path = { workload, secret: name };
        await answered(api.PUT("/api/workloads/{workload}/secrets/{secret}", { params: { path }, body: { value } }));
        this.values[name] = "";
      }
      if (!deploy) return;
      const operation = await answered(
        api.POST("/api/workloads/{workload}/deploy", {
          params: { path: { workload }, header: { "Idempotency-Key": this.#key } },
          body: { accept_volumes: false },
        }),
      );
      this.deployment = operation.id;
    } catch (error) {
      try {
        this.draft.refused(error);
      } catch {
        this.error = error;
      }
      throw error;
    }
  }

  async #apply(body: string): Promise<void> {
    if (!this.made) this.made = (await answered(api.POST("/api/workloads", { body, ...AS_YAML }))).name;
    else if (body !== this.#applied) {
      const params = { path: { workload: this.made } };
      await answered(api.PUT("/api/workloads/{workload}", { params, body, ...AS_YAML }));
      this.#key = newKey(); // to deploy that is another deed
    }
    this.#applied = body;
  }
}
