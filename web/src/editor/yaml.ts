/** A declaration as a text to edit. Loaded only where one is shown. */
import { stringify } from "yaml";

export function written(document: unknown): string {
  return stringify(document, { indent: 2, lineWidth: 110, aliasDuplicateObjects: false });
}
