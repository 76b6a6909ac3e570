"""The protocol of sources: what says which image a workload is to run. Public: plugins are written against it.

A source is found by an entry point of the group :data:`GROUP`, whose name is what a declaration gives as
``source.type``, and whose value is a class, or a function, that is called without arguments and makes a
:class:`Source`. ``docs/reference/source-plugins.md`` tells it whole, with an example.

A source says what is to run, and no more. Fetching the image, making containers, judging and replacing them is
Holdfast's, under the workload's lock: no source has a way to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

GROUP: Final = "holdfast.sources"
"""The group of entry points."""


class SourceError(Exception):
    """A source's own refusal: the person who deploys reads its words as they are.

    Args:
        message: one sentence.
        next_step: what to do about it.
    """

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a source is told about a deployment.

    Attributes:
        workload, project, stage: what is deployed, by name.
        engine: the address of the container engine, as ``DOCKER_HOST`` takes it.
        log: adds a line to the operation's log.
        cancelled: whether nobody waits for the answer any more: a person cancelled, or it took too long.
    """

    workload: str
    project: str
    stage: str
    engine: str
    log: Callable[[str], None]
    cancelled: Callable[[], bool]


class Source(Protocol):
    """One kind of source. Both methods may block: each call runs in a thread of its own, several side by side."""

    def check(self, settings: Mapping[str, str]) -> Iterable[str]:
        """What is wrong with the settings of a declaration, a sentence each; nothing if they can be used.

        Called when a workload is applied. It looks at the settings only: no network, nothing slow.
        """

    def resolve(self, settings: Mapping[str, str], context: Context) -> str:
        """The image that is to run now, which may have to be built first.

        Returns:
            A reference (``registry/name:tag``, better ``name@sha256:…``), which is looked for and pulled as that of
            the source ``image`` is; or the id (``sha256:…``) of an image on this host, which is what was built.

        Raises:
            SourceError: there is none, and why.
        """
