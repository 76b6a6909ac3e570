/** Keys by which the server knows a request that it got already: one for each thing that somebody means to do. */
export function newKey(): string {
  // not `randomUUID`, which there is only with TLS and on loopback
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
