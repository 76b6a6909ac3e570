"""Sources: from what a workload declares to the one version that is to run. All go this way, the built-in one too.

Code of a source is not Holdfast's own. Whatever it does (it can't be imported, raises, never answers, answers
nonsense) ends in an error with a code, before anything of the workload was touched. It is asked under the workload's
lock and given no way to containers or locks.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

import structlog

from holdfast.domain.errors import Failed, InvalidInput, Problem, Refused
from holdfast.domain.image_ref import parse_image_ref
from holdfast.domain.told import TextOrTold, told
from holdfast.domain.workload import SourceWish, WorkloadSpec
from holdfast.services.apart import apart
from holdfast.services.image_source import IMAGE_ID, ImageSource, PullPolicy, Version
from holdfast.services.operation_context import OperationContext
from holdfast.services.source_plugins import Provided, load, one_line, provided, traced, words
from holdfast.sources import Context, Source, SourceError

CHECK_PATIENCE: Final = 10.0
"""Seconds that a look at settings, and loading, may take: people wait for it."""
_LEFT_BEHIND: Final = 4
"""So many calls of one source may hang before it is asked nothing more."""
_MAX_LINES: Final = 500
_MAX_PROBLEMS: Final = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """A source that is installed.

    Attributes:
        provided_by: the distribution, with its version.
        problem: why it can't be used; ``None`` if it can.
    """

    name: str
    provided_by: str
    problem: Problem | None


class _Nonsense(Exception):
    """An answer that is none; its text says what came instead."""


class Sources:
    """Asks sources.

    Args:
        engine: the container engine's address, for those that build.
        patience: seconds that a source may take to name an image.
    """

    def __init__(
        self, images: ImageSource, *, engine: str, patience: float, check_patience: float = CHECK_PATIENCE
    ) -> None:
        self._images = images
        self._engine = engine
        self._patience = patience
        self._check_patience = check_patience
        self._loaded: dict[str, Source] = {}
        self._late: Counter[str] = Counter()
        self._log = structlog.get_logger("sources")

    async def list(self) -> tuple[SourceFacts, ...]:
        """All that are installed, by name. Loads each of them."""
        there = await self._apart("", provided, self._check_patience)
        names = Counter(each.entry.name for each in there)
        problems = dict(zip(names, await asyncio.gather(*map(self._problem, names)), strict=True))
        return tuple(
            SourceFacts(name=each.entry.name, provided_by=each.by, problem=problems[each.entry.name])
            for each in sorted(there, key=_place)
        )

    async def check(self, wish: SourceWish) -> None:
        """Whether a declaration's source can be used, by its source's own word.

        Raises:
            Refused: ``source_settings_invalid`` for each problem; ``source_unknown``, ``source_ambiguous``,
                ``source_broken``.
            Failed: as :meth:`resolve`.
        """

        def work(source: Source) -> tuple[str, ...]:
            return _sentences(source.check(wish.mapping))

        found = await self._asked(wish.type, work, self._check_patience)
        if found:
            raise Refused([_invalid(wish.type, sentence) for sentence in found])

    async def resolve(
        self, spec: WorkloadSpec, ctx: OperationContext, *, pull: PullPolicy = PullPolicy.ALWAYS
    ) -> Version:
        """The version that a workload's source names now, on this host.

        Raises:
            Refused: ``source_unknown``, ``source_ambiguous``, ``source_broken``. Nothing was touched, here and below.
            Failed: ``source_refused``, ``source_failed``, ``source_answer_invalid``, ``source_timeout``,
                ``source_stuck``; or as :meth:`ImageSource.resolve`.
            Cancelled: a person cancelled.
            Unavailable: the engine does not answer.
        """
        wish = spec.source
        async with _context(spec, self._engine, ctx) as context:

            def work(source: Source) -> str:
                return _image(source.resolve(wish.mapping, context))

            with ctx.interruptible():
                image = await self._asked(wish.type, work, self._patience)
        return await self._images.resolve(image, ctx, pull=pull)

    async def _problem(self, kind: str) -> Problem | None:
        try:
            await self._asked(kind, lambda _source: None, self._check_patience)
        except Refused as refusal:
            return refusal.problems[0]
        except Failed as error:
            return Problem(code=error.code, message=error.message, next_step=error.next_step)
        return None

    async def _asked(self, kind: str, work: Callable[[Source], T], patience: float) -> T:
        def guarded() -> T:
            source = self._loaded.get(kind) or self._loaded.setdefault(kind, load(kind))
            try:
                return work(source)
            except _Nonsense as error:
                raise _answer_invalid(kind, str(error)) from error
            except SourceError as error:
                raise _refused(kind, error) from error
            except BaseException as error:
                self._log.warning("source_failed", source=kind, trace=traced(error))
                raise _failed(kind, error) from error

        return await self._apart(kind, guarded, patience)

    async def _apart(self, kind: str, work: Callable[[], T], patience: float) -> T:
        if self._late[kind] >= _LEFT_BEHIND:
            raise Failed(
                "source_stuck",
                f"The source {kind} hangs in {self._late[kind]} earlier calls, and is not asked again. "
                "Nothing was changed.",
                next_step="Look for what it waits for; then restart Holdfast, which lets go of them.",
                details={"source": kind},
            )

        def late(more: int) -> None:
            self._late[kind] += more

        try:
            return await apart(work, name=f"source {kind}", patience=patience, late=late)
        except TimeoutError as error:
            raise Failed(
                "source_timeout",
                f"The source {kind} did not answer within {patience:g} seconds. Nothing was changed.",
                next_step="Look for what it waits for, then try again; source_timeout is how long it may take.",
                details={"source": kind, "seconds": patience},
            ) from error


@asynccontextmanager
async def _context(spec: WorkloadSpec, engine: str, ctx: OperationContext) -> AsyncIterator[Context]:
    """What the source is told; its lines reach the operation's log while it runs, and nothing does afterwards."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[TextOrTold] = asyncio.Queue()
    said, over = 0, False

    def log(line: str) -> None:
        nonlocal said
        said += 1
        if not over and said <= _MAX_LINES:
            more = told("source_says_more", "the source says more; it is left out")
            loop.call_soon_threadsafe(lines.put_nowait, one_line(line) if said < _MAX_LINES else more)

    async def write() -> None:
        while True:
            ctx.log_lines([await lines.get(), *(lines.get_nowait() for _ in range(lines.qsize()))])

    writer = asyncio.create_task(write())
    try:
        yield Context(
            workload=spec.name,
            project=spec.project,
            stage=spec.stage,
            engine=engine,
            log=log,
            cancelled=lambda: over,
        )
    finally:
        over = True
        writer.cancel()
        await asyncio.wait([writer])
        if not writer.cancelled():
            writer.exception()  # a disk that takes no line takes the next one neither, and that is told
        ctx.log_lines([lines.get_nowait() for _ in range(lines.qsize())])


def _place(each: Provided) -> tuple[str, str]:
    return each.entry.name, each.by


def _image(answer: object) -> str:
    """The answer, if it can name an image."""
    if type(answer) is not str:
        raise _Nonsense(f"{type(answer).__name__} instead of text")
    if IMAGE_ID.fullmatch(answer):
        return answer
    try:
        if answer.startswith("sha256:"):  # a part of an id: as a name it would be looked for in a registry
            raise _Nonsense(f"{one_line(answer)!r}, which is no whole image id")
        parse_image_ref(answer)
    except InvalidInput as error:
        raise _Nonsense(f"{one_line(answer)!r}, which is no image reference") from error
    return answer


def _sentences(answer: Iterable[object]) -> tuple[str, ...]:
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        raise _Nonsense(f"{type(answer).__name__} instead of a list of sentences")
    found = list(islice(answer, _MAX_PROBLEMS))
    if any(type(each) is not str for each in found):
        raise _Nonsense("something else than sentences")
    return tuple(map(one_line, found))


def _invalid(kind: str, sentence: str) -> Problem:
    return Problem(
        code="source_settings_invalid",
        message=f"The settings of the source {kind} can't be used: {sentence.rstrip('.')}.",
        next_step="Mend source.settings in the declaration, as the source's own documentation says.",
        details={"source": kind},
    )


def _refused(kind: str, error: SourceError) -> Failed:
    return Failed(
        "source_refused",
        f"The source {kind} names no image: {one_line(error.message).rstrip('.')}. Nothing was changed.",
        next_step=one_line(error.next_step) or "Mend what it names, then deploy again.",
        details={"source": kind},
    )


def _failed(kind: str, error: BaseException) -> Failed:
    return Failed(
        "source_failed",
        f"The source {kind} failed ({words(error)}). Nothing was changed.",
        next_step="Look into Holdfast's own log for where it failed, and report it to the source's authors.",
        details={"source": kind},
    )


def _answer_invalid(kind: str, what: str) -> Failed:
    return Failed(
        "source_answer_invalid",
        f"The source {kind} answered with {what}. Nothing was changed.",
        next_step="Report it to the source's authors.",
        details={"source": kind},
    )
