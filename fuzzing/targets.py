"""What is fuzzed: each target reads some bytes, and says what must be true of that whatever the bytes are.

A reader raises ``AssertionError`` where that is not true; any exception but a documented refusal is a finding too. What
is not asked for is not imported: a search watches all that was imported since it began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Final, cast


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One reader.

    Attributes:
        module: of this package, where its functions are.
        reader: name of the function that reads bytes, and returns whether they were accepted.
        corpus: name of the function that gives the inputs with which the search begins.
        runs: how many inputs ``make test`` tries.
        longest: bytes of an input.
    """

    module: str
    reader: str
    corpus: str
    runs: int
    longest: int

    @property
    def run(self) -> Callable[[bytes], bool]:
        return cast("Callable[[bytes], bool]", getattr(import_module(self.module), self.reader))

    def seeds(self) -> list[bytes]:
        """The inputs with which the search begins, none longer than allowed."""
        corpus = cast("Callable[[], Iterable[bytes]]", getattr(import_module(self.module), self.corpus))
        return [content for content in corpus() if len(content) <= self.longest]


TARGETS: Final = {
    name: Target(module=f"fuzzing.{module}", reader=reader, corpus=corpus, runs=runs, longest=longest)
    for name, module, reader, corpus, runs, longest in (
        ("tar", "archives", "read_tar", "tar_seeds", 800, 32 << 10),
        ("compression", "archives", "read_compressed", "compressed_seeds", 2000, 8 << 10),
        ("manifest", "documents", "read_manifest", "manifest_seeds", 2000, 8 << 10),
        ("journal", "documents", "read_journal", "journal_seeds", 2000, 16 << 10),
        ("declaration", "documents", "read_declaration", "declaration_seeds", 400, 4 << 10),
        ("paths", "documents", "read_paths", "path_seeds", 2500, 1 << 10),
        ("pack", "repository", "read_pack", "pack_seeds", 2000, 16 << 10),
        ("tree", "repository", "read_tree", "tree_seeds", 2000, 8 << 10),
        ("index", "repository", "read_index", "index_seeds", 80, 128 << 10),
    )
}
