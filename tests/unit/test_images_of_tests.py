"""Images that tests build have names of their own: all tests share an engine, and what one builds another may run."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).resolve().parents[1]
_BUILT: Final = re.compile(r"""(?<![\w/}])holdfast-test/[a-z0-9/._-]+:[a-z0-9._-]+(?=["'])""")
"""Written out, with its tag; below a registry's address a name is of that registry alone."""


def test_no_two_files_of_tests_build_an_image_of_the_same_name() -> None:
    builders: defaultdict[str, set[str]] = defaultdict(set)
    for directory in ("integration", "e2e", "contract"):
        for path in (TESTS / directory).rglob("*.py"):
            for name in _BUILT.findall(path.read_text()):
                builders[name].add(path.name)
    assert len(builders) > 20
    assert {name: files for name, files in builders.items() if len(files) > 1} == {}
