/**
 * Text from outside as it can be shown: sequences that would colour a terminal are left out, other signs that one
 * doesn't see, or that would turn the line around, are made visible. It stays text: nobody interprets it.
 */

// eslint-disable-next-line no-control-regex
const SEQUENCES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])/g;
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;
/** Signs without a look of their own, but for those that choose how the sign before them looks. */
const UNSEEN =
  /[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;

function picture(sign: string): string {
  const code = sign.codePointAt(0)!;
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
}

/** `text` fit to be shown. Tabs and line ends stay. */
export function visible(text: string): string {
  return text.replace(SEQUENCES, "").replace(CONTROLS, picture).replace(UNSEEN, picture);
}
