/** Which workloads there are, where one of them is to be chosen. */
import { answered, api } from "./client";
import { everything } from "./pages";
import { type Resource, resource } from "./resource.svelte";

export interface NamedWorkload {
  id: string;
  name: string;
}

/** All but one. */
export function otherWorkloads(but: () => string): Resource<NamedWorkload[]> {
  return resource(
    async (signal) => {
      const all = await everything((cursor) =>
        answered(api.GET("/api/statuses", { params: { query: { limit: 200, ...(cursor && { cursor }) } }, signal })),
      );
      return all.filter((each) => each.id !== but()).map(({ id, name }) => ({ id, name }));
    },
    () => ({ parts: ["workloads"] }),
  );
}
