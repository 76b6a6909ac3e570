"""Write the generated parts of ``docs/reference``. With ``--check``: only say whether they are current."""

from __future__ import annotations

import sys
from pathlib import Path

from holdfast.api import openapi
from holdfast.api.schemas.workload_reference import (
    MARKDOWN_FILE,
    SCHEMA_FILE,
    reference_markdown,
    reference_schema,
)
from holdfast.testing import cli_reference, error_codes


def main(arguments: list[str]) -> int:
    """Returns the exit code: 1 if ``--check`` found something that is not current."""
    root = Path(__file__).resolve().parent.parent
    stale = 0
    written = (
        (MARKDOWN_FILE, reference_markdown()),
        (SCHEMA_FILE, reference_schema()),
        ("docs/reference/openapi.json", openapi.rendered()),
        ("docs/reference/cli.md", cli_reference.rendered()),
        ("docs/reference/errors.md", error_codes.rendered(error_codes.found_codes().values())),
    )
    for file, text in written:
        path = root / file
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            print(f"{file} is not current; run scripts/generate_reference.py")
            stale = 1
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {file}")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
