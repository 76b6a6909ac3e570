/** The editor itself. Loaded only where one is shown. */
import {
  autocompletion,
  type CompletionContext,
  type CompletionResult,
  completionKeymap,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, lintGutter, setDiagnostics } from "@codemirror/lint";
import { EditorState, type Text } from "@codemirror/state";
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  hoverTooltip,
  keymap,
  lineNumbers,
  type Tooltip,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { placeAt } from "./place";
import { explained, type Schema, type Suggestion, suggestions } from "./schema";

export interface Options {
  text: string;
  label: string;
  /** The words of the editor's own that are read out. */
  words: { completions: string; invalid: string };
  readonly: boolean;
  schema: () => Schema | undefined;
  onchange: (text: string) => void;
}

/** Something wrong at a place in the text. */
export interface Mark {
  line: number;
  column: number;
  words: string;
}

export interface Editor {
  /** Put in another text; nothing where it is the same. */
  write(text: string): void;
  mark(marks: readonly Mark[]): void;
  /** Go to a line. */
  go(line: number, column: number): void;
  end(): void;
}

const LOOKS = EditorView.theme({
  "&": {
    backgroundColor: "var(--surface)",
    color: "var(--ink)",
    fontSize: "var(--text-small)",
    minHeight: "17.5rem",
    borderRadius: "inherit",
  },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "1px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", maxHeight: "36rem" },
  ".cm-content": { padding: "var(--s3) 0", caretColor: "var(--ink)" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--ink-quiet)", border: "0" },
  ".cm-activeLine": { backgroundColor: "color-mix(in oklab, var(--accent-soft) 45%, transparent)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    background: "color-mix(in oklab, var(--accent) 30%, transparent)",
  },
  ".cm-tooltip": {
    border: "1px solid var(--line)",
    borderRadius: "var(--round)",
    backgroundColor: "var(--raised)",
    color: "var(--ink)",
    boxShadow: "var(--shadow-high)",
    overflow: "hidden",
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", maxHeight: "14rem" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "var(--s1) var(--s2)" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { background: "var(--accent-fill)", color: "var(--on-accent)" },
  ".cm-completionDetail": { marginLeft: "1.5em", fontStyle: "normal", opacity: "0.8" },
  ".cm-tooltip.cm-completionInfo": { padding: "0" },
  ".cm-words": { maxWidth: "24rem", padding: "var(--s2) var(--s3)", fontFamily: "var(--font)" },
  ".cm-diagnostic": { padding: "var(--s2) var(--s3)", fontFamily: "var(--font)", borderLeft: "3px solid var(--bad)" },
  ".cm-lintRange-error": {
    backgroundImage: "none",
    textDecoration: "underline wavy var(--bad)",
    textDecorationSkipInk: "none",
    textUnderlineOffset: "3px",
  },
});

const COLOURS = HighlightStyle.define([
  { tag: [tags.definition(tags.propertyName), tags.propertyName], color: "var(--accent)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--good)" },
  { tag: [tags.number, tags.bool, tags.null, tags.keyword], color: "var(--busy)" },
  { tag: tags.comment, color: "var(--ink-quiet)", fontStyle: "italic" },
  { tag: [tags.meta, tags.punctuation, tags.separator], color: "var(--ink-quiet)" },
]);

/**
 * Makes an editor.
 *
 * @param root what it stands in: a shadow root, since its rules are adopted there, where the page's policy allows no style
 *   that a script writes into the document.
 */
export function create(root: ShadowRoot, options: Options): Editor {
  const complete = (context: CompletionContext): CompletionResult | null => {
    const schema = options.schema();
    const line = context.state.doc.lineAt(context.pos);
    const before = line.text.slice(0, context.pos - line.from);
    const word = /[\w.-]*$/.exec(before)?.[0] ?? "";
    if (!schema || (word === "" && !context.explicit && !/:\s$/.test(before)) || /#/.test(before)) return null;
    const lines = context.state.doc.toJSON();
    lines[line.number - 1] = before;
    const place = placeAt(lines, line.number - 1);
    const indent = before.slice(0, before.length - word.length).replace(/-/g, " ");
    const found = suggestions(schema, place, indent);
    return found.length === 0
      ? null
      : { from: context.pos - word.length, options: found.map(option), validFor: /^[\w.-]*$/ };
  };
  const explain = hoverTooltip(({ state }, pos): Tooltip | null => {
    const schema = options.schema();
    const line = state.doc.lineAt(pos);
    const place = placeAt(state.doc.toJSON(), line.number - 1);
    const from = place.key === null ? -1 : line.text.indexOf(place.key);
    if (!schema || place.key === null || pos < line.from + from || pos > line.from + from + place.key.length)
      return null;
    const words = explained(schema, place.parent, place.key);
    return words === "" ? null : { pos: line.from + from, create: () => ({ dom: information(words) }) };
  });
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: options.text,
      extensions: [
        lineNumbers(),
        history(),
        drawSelection(),
        highlightActiveLine(),
        indentOnInput(),
        indentUnit.of("  "),
        yaml(),
        syntaxHighlighting(COLOURS),
        autocompletion({ override: [complete], icons: false }),
        lintGutter(),
        explain,
        LOOKS,
        EditorState.phrases.of({ Completions: options.words.completions, Diagnostics: options.words.invalid }),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({
          "aria-label": options.label,
          "aria-multiline": "true",
          tabindex: "0",
          spellcheck: "false",
          autocapitalize: "off",
        }),
        EditorState.readOnly.of(options.readonly),
        // the browser would keep the look of what is replaced by a style of its own, which the page's policy refuses
        EditorView.domEventHandlers({
          beforeinput(event, { state, dispatch, composing }) {
            if (event.inputType !== "insertText" || !event.data || state.selection.main.empty || composing)
              return false;
            if (!state.readOnly) dispatch(state.replaceSelection(event.data), { userEvent: "input.type" });
            return true;
          },
        }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) options.onchange(update.state.doc.toString());
        }),
        keymap.of([...completionKeymap, ...defaultKeymap, ...historyKeymap]),
      ],
    }),
  });
  return {
    write(text) {
      const old = view.state.doc.toString();
      if (text !== old) view.dispatch({ changes: difference(old, text) });
    },
    mark(marks) {
      const found = marks.map((mark) => diagnostic(mark, view.state.doc));
      view.dispatch(setDiagnostics(view.state, found));
    },
    go(line, column) {
      const at = position(view.state.doc, line, column);
      view.dispatch({ selection: { anchor: at }, effects: EditorView.scrollIntoView(at, { y: "center" }) });
      view.focus();
    },
    end: () => view.destroy(),
  };
}

/** The one stretch in which two texts differ: where somebody reads or writes in the rest of it, they stay. */
function difference(old: string, text: string): { from: number; to: number; insert: string } {
  const least = Math.min(old.length, text.length);
  let from = 0;
  while (from < least && old[from] === text[from]) from++;
  let same = 0;
  while (same < least - from && old.at(-1 - same) === text.at(-1 - same)) same++;
  return { from, to: old.length - same, insert: text.slice(from, text.length - same) };
}

function position(doc: Text, line: number, column: number): number {
  const found = doc.line(Math.min(Math.max(line, 1), doc.lines));
  return Math.min(found.from + Math.max(column - 1, 0), found.to);
}

function diagnostic(mark: Mark, doc: Text): Diagnostic {
  const from = position(doc, mark.line, mark.column);
  return { from, to: doc.lineAt(from).to, severity: "error", message: mark.words };
}

function option(each: Suggestion) {
  return {
    label: each.label,
    apply: each.insert,
    type: each.kind,
    detail: each.detail,
    ...(each.words && { info: () => information(each.words) }),
    boost: each.detail.endsWith("*") ? 1 : 0,
  };
}

function information(words: string): HTMLElement {
  const element = document.createElement("div");
  element.className = "cm-words";
  element.lang = "en";
  element.textContent = words;
  return element;
}
