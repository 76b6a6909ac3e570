/**
 * The shape of messages. English says which there are; every other language has just the same, or doesn't compile.
 *
 * A message is a text with `{places}`, or one text for each plural form of `{count}`.
 */
import type { messages } from "./languages/en";

export type Plural = Readonly<Partial<Record<Intl.LDMLPluralRule, string>> & { other: string }>;
export type Message = string | Plural;
export type Key = keyof typeof messages;

/** All messages of a language, by the keys of the English ones. A plural stays a plural, a plain text a plain text. */
export type Messages = { readonly [K in Key]: (typeof messages)[K] extends string ? string : Plural };

type Places<S> = S extends `${string}{${infer Place}}${infer Rest}` ? Place | Places<Rest> : never;
type PlacesOf<M> = M extends string ? Places<M> : Places<M[keyof M]> | "count";

/**
 * What the server tells, by its code: what happened, and what to do next where the server tells that. What isn't a refusal
 * has its values at the places that English has.
 */
export type ErrorWords = Readonly<Record<string, readonly [what: Message, nextStep?: string]>>;

/** Messages that are told as they are. */
export type PlainKey = { [K in Key]: Given<K> extends [] ? K : never }[Key];

/** What has to be given for a message. */
export type Given<K extends Key> = [PlacesOf<(typeof messages)[K]>] extends [never]
  ? []
  : [values: { readonly [P in PlacesOf<(typeof messages)[K]>]: P extends "count" ? number : string | number }];
