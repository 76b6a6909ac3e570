/** Paths in volumes, as the server gives them: base64url of their bytes, since names need not be text. */
import { visible } from "./visible";

function bytesOf(encoded: string): Uint8Array {
  const binary = atob(encoded.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (sign) => sign.charCodeAt(0));
}

function encodedOf(bytes: Uint8Array): string {
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export interface Part {
  /** For people. */
  name: string;
  /** The path up to here. */
  path: string;
}

/** The folders on the way to a path, and itself, from the volume's root on, which is not among them. */
export function partsOf(encoded: string): Part[] {
  let bytes: Uint8Array;
  try {
    bytes = bytesOf(encoded);
  } catch {
    return [];
  }
  const parts: Part[] = [];
  for (let from = 0; from < bytes.length;) {
    const slash = bytes.indexOf(0x2f, from);
    const end = slash < 0 ? bytes.length : slash;
    parts.push({
      name: visible(new TextDecoder().decode(bytes.subarray(from, end))),
      path: encodedOf(bytes.subarray(0, end)),
    });
    from = end + 1;
  }
  return parts;
}

/** What to list after, so that the first name is the one that was typed, or the next one. */
export function before(typed: string): string {
  const bytes = new TextEncoder().encode(typed.replaceAll("/", ""));
  const last = bytes.at(-1);
  if (last === undefined) return "";
  const shorter = bytes.subarray(0, -1);
  // nothing sorts between this and the name itself but what is longer by bytes that no text has
  return last === 0x01 ? encodedOf(shorter) : encodedOf(Uint8Array.from([...shorter, last - 1, 0xff, 0xff, 0xff]));
}
