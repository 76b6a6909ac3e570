/**
 * Text from outside as it can be shown: sequences that would colour a terminal are left out, other signs that one
 * doesn't see, or that would turn the line around, are made visible. It stays text: nobody interprets it.
 */

// eslint-disable-next-line no-control-regex
const SEQUENCES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])/g;
// eslint-disable-next-line no-control-regex
const UNSEEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

function picture(sign: string): string {
  const code = sign.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
}

/** `text` fit to be shown. Tabs and line ends stay. */
export function visible(text: string): string {
  return text.replace(SEQUENCES, "").replace(UNSEEN, picture);
}
