"""Text from outside, fit to stand in a sentence of ours: it ends no line, colours no terminal, turns nothing around."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` in one line, with a blank for each character that isn't seen."""
    return "".join(character if character.isprintable() else " " for character in text)
