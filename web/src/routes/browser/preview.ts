/** The beginning of a file as text, if it is text. What it pretends to be doesn't matter; nobody interprets it. */
import { BASE } from "../../api/client";
import { ApiError, Unreachable } from "../../api/errors";

/** So many bytes are looked at. */
export const MOST = 256 * 1024;

export interface Preview {
  /** `null` where it is no text. */
  text: string | null;
  /** Whether the file goes on. */
  cut: boolean;
}

/** Bytes as text; `null` where they are something else. */
export function textOf(bytes: Uint8Array, cut: boolean): string | null {
  if (bytes.includes(0)) return null;
  try {
    // what was cut may end within a letter
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: cut });
  } catch {
    return null;
  }
}

export async function preview(address: string, signal: AbortSignal): Promise<Preview> {
  try {
    const response = await fetch(new URL(address, BASE), { signal });
    if (!response.ok) throw ApiError.of(response, await response.json().catch(() => null));
    const reader = response.body!.getReader();
    const pieces: Uint8Array[] = [];
    let size = 0;
    let cut = false;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      pieces.push(value);
      size += value.length;
      if (size > MOST) {
        cut = true;
        await reader.cancel();
        break;
      }
    }
    const bytes = new Uint8Array(size);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return { text: textOf(bytes.subarray(0, MOST), cut), cut };
  } catch (error) {
    if (signal.aborted || error instanceof ApiError) throw error;
    throw new Unreachable("the server does not answer", { cause: error });
  }
}
