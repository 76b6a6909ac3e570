"""A proposed declaration as a file that people read, change and apply."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.representer import SafeRepresenter

from holdfast.domain.compose_findings import Finding, FindingKind
from holdfast.domain.printable import printable

_WIDTH: Final = 118
_HEADINGS: Final = (
    (FindingKind.PROBLEM, "To mend before it can be applied:"),
    (FindingKind.LEFT_OUT, "Not carried over:"),
    (FindingKind.NOTE, "To look at:"),
)


class _Representer(SafeRepresenter):
    """Writes what is there twice twice: no reader has to know anchors."""

    def ignore_aliases(self, _data: object) -> bool:
        """Whether a value is written out wherever it stands."""
        return True


def rendered(document: Mapping[str, object], findings: Sequence[Finding], origin: str = "a compose file") -> str:
    """The file: what there is to say as comments, then the declaration.

    Args:
        origin: what it was proposed from.
    """
    lines = [f"# Proposed from {printable(origin)}. Nothing was applied; read it, then: holdfast apply -f FILE"]
    for kind, heading in _HEADINGS:
        listed = [finding for finding in findings if finding.kind is kind]
        if listed:
            lines += ["#", f"# {heading}"]
        for finding in listed:
            place = f"{finding.path}: " if finding.path else ""
            lines += textwrap.wrap(
                f"{place}{printable(finding.message)} {printable(finding.next_step)}",
                _WIDTH,
                initial_indent="# - ",
                subsequent_indent="#   ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines) + "\n\n" + _yaml(document)


def _yaml(document: Mapping[str, object]) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # it annotates its default only
    yaml.allow_unicode = True
    yaml.width = 4096
    yaml.Representer = _Representer
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()
