"""How much a declaration may hold, in YAML and in JSON alike."""

from __future__ import annotations

from typing import Final

MAX_BYTES: Final = 256 * 1024
"""Of a document's text."""
MAX_NODES: Final = 5_000
"""Values and keys in the document after aliases have been followed: more than all the lists of a declaration may have,
and few enough to be read in a second.
"""
MAX_DEPTH: Final = 16
