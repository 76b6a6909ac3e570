"""The progress of a pull: many layers, reported one by one, as one sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_LAYER: Final = frozenset({"Pulling fs layer", "Waiting"})
_DOWNLOADED: Final = frozenset({"Verifying Checksum", "Download complete", "Extracting", "Pull complete"})


@dataclass(slots=True)
class _Layer:
    done: int = 0
    total: int | None = None
    downloaded: bool = False


class PullProgress:
    """Feed it the engine's messages; read what to show from it.

    Layers that are on the host already don't count: nothing is done for them.
    """

    def __init__(self) -> None:
        self._layers: dict[str, _Layer] = {}

    def take(self, message: Mapping[str, Any]) -> bool:
        """Take one message in. Returns whether it changed anything."""
        status, name = message.get("status"), message.get("id")
        if not name or not isinstance(status, str):
            return False
        if status in _LAYER:
            self._layers.setdefault(name, _Layer())
        elif status == "Downloading":
            detail = message.get("progressDetail") or {}
            layer = self._layers.setdefault(name, _Layer())
            layer.done = int(detail.get("current") or layer.done)
            layer.total = int(detail["total"]) if detail.get("total", 0) > 0 else layer.total
        elif status in _DOWNLOADED and name in self._layers:
            layer = self._layers[name]
            layer.downloaded = True
            # The engine leaves out messages when it is quick; unpacking then tells the size.
            told = int((message.get("progressDetail") or {}).get("total") or 0)
            layer.total = layer.done = layer.total or told or layer.done
        else:
            return False
        return True

    @property
    def what(self) -> str:
        downloaded = all(layer.downloaded for layer in self._layers.values())
        return "unpacking" if self._layers and downloaded else "downloading"

    @property
    def done(self) -> int:
        """Bytes downloaded, of all layers."""
        return sum(layer.done for layer in self._layers.values())

    @property
    def total(self) -> int | None:
        """Bytes of all layers; ``None`` while the size of one is not known."""
        sizes = [layer.total for layer in self._layers.values()]
        known = [size for size in sizes if size is not None]
        return sum(known) if sizes and len(known) == len(sizes) else None
