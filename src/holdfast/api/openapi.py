"""The description of the API, as published: ``python -m holdfast.api.openapi > docs/reference/openapi.json``."""

from __future__ import annotations

import json
import sys
from typing import Any

from holdfast.api.app import bare_app


def document() -> dict[str, Any]:
    """The OpenAPI document; the same that the server tells."""
    return bare_app().openapi()


def rendered() -> str:
    """The document as text, the same for the same API."""
    return json.dumps(document(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(rendered())
