"""What the tests of the repository share."""

from __future__ import annotations

import pytest

from holdfast.engine.repository.object_blobs import ObjectBlobs


@pytest.fixture(scope="session", autouse=True)
def _library() -> None:
    """The object storage library's own descriptors stay open once it was used."""
    ObjectBlobs.in_memory().put("packs/a", [b"x"])
