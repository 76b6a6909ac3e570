"""Second repositories by name: add, list, look at, try, forget; and what has to be known to open one.

The secret of an access key is sealed, in a file for its owner only, named after the repository's entry. It is in no
record, no answer, no log, and no message to a worker.

Second repositories are asked in threads of their own, and for a while only: a disk of another machine may never answer,
and nothing else of Holdfast waits for it.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog

from holdfast.config import Settings
from holdfast.config_checks import never_roots
from holdfast.domain import times
from holdfast.domain.errors import Busy, Conflict, HoldfastError, InvalidInput, NotFound, Problem, Refused, Unavailable
from holdfast.domain.ids import new_id
from holdfast.domain.repository import (
    RepositoryFacts,
    RepositoryKind,
    RepositoryPlace,
    SecondRepository,
    is_repository_name,
)
from holdfast.domain.snapshot import SnapshotManifest
from holdfast.engine.fs import Fs
from holdfast.engine.keys import remove_secret
from holdfast.engine.repository.access_secret import PLAIN_SUFFIX, SUFFIX, keep_access_secret, seal_plain
from holdfast.engine.repository.repository import Repository
from holdfast.engine.repository.second import Pace, Second, add_second, opened
from holdfast.store.repositories import RepositoryNames

_AT_ONCE: Final = 4
_ANSWER_SECONDS: Final = 60.0

T = TypeVar("T")


class Repositories:
    """All second repositories.

    Args:
        answer_seconds: how long one is waited for that is only asked something.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        installation: str,
        fs: Fs,
        names: RepositoryNames,
        answer_seconds: float = _ANSWER_SECONDS,
    ) -> None:
        self._settings = settings
        self._installation = installation
        self._fs = fs
        self._names = names
        self._used: Counter[str] = Counter()
        self._adding = asyncio.Lock()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="repositories")
        self._answer_seconds = answer_seconds

    def close(self) -> None:
        """Let go of the threads. One that waits for a disk is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def add(
        self, name: str, place: RepositoryPlace, secret: str, *, encrypt: bool, take_over: bool
    ) -> SecondRepository:
        """Try a place out, open the repository that is there or make one, and remember it.

        Args:
            place: a directory's path may be unresolved.
            secret: of the access key; empty for a directory.
            encrypt: whether one that is made is sealed. In object storage it always is.
            take_over: make this installation its owner, whoever was before.

        Raises:
            InvalidInput: ``repository_name_malformed``, ``repository_path_malformed``, ``s3_location_malformed``.
            Conflict: ``repository_known``, ``repository_of_another``.
            Refused: ``repository_place_unsafe``, or as :func:`add_second`. Nothing is remembered.
            HoldfastError: what the storage refuses, or that it does not answer.
        """
        if not is_repository_name(name):
            raise InvalidInput(
                "repository_name_malformed",
                "A repository's name has 1 to 63 lower-case letters, digits and dashes, and is not 'primary'.",
                next_step="Choose another name.",
            )
        if place.kind is RepositoryKind.DIRECTORY:
            place = RepositoryPlace(kind=place.kind, path=await asyncio.to_thread(self._safe, place.path))
        async with self._adding:
            if await self._names.find(name) is not None:
                raise Conflict(
                    "repository_known",
                    f"There is a repository called {name} already.",
                    next_step="Look at what there is with `holdfast repository list`.",
                )
            return await self._add(name, place, secret, encrypt=encrypt, take_over=take_over)

    async def _add(
        self, name: str, place: RepositoryPlace, secret: str, *, encrypt: bool, take_over: bool
    ) -> SecondRepository:
        entry_id = new_id()
        second = self._second_of(entry_id, name, place, "", patient=False)
        secret_file = self._secret_file(entry_id)
        try:
            if place.kind is RepositoryKind.S3:
                await asyncio.to_thread(keep_access_secret, self._fs, secret_file, secret.encode())
            found = await asyncio.get_running_loop().run_in_executor(
                self._threads, partial(add_second, self._fs, second, encrypt=encrypt, take_over=take_over)
            )
            added = SecondRepository(
                id=entry_id,
                name=name,
                place=place,
                repository_id=found.id,
                encrypted=found.encrypted,
                created_at=times.now(),
            )
            await self._names.insert(added)
        except BaseException as error:
            await asyncio.shield(asyncio.to_thread(remove_secret, self._fs, secret_file))
            if isinstance(error, Unavailable):  # what was sent is wrong, as far as one can tell, and not Holdfast
                problem = Problem(
                    code=error.code, message=error.message, next_step=error.next_step, details=error.details
                )
                raise Refused([problem]) from error
            raise
        return added

    async def list(self) -> tuple[SecondRepository, ...]:
        """All, by name."""
        return await self._names.list()

    async def get(self, name: str) -> SecondRepository:
        """One of them.

        Raises:
            NotFound: ``repository_unknown``.
        """
        found = await self._names.find(name)
        if found is None:
            raise NotFound(
                "repository_unknown",
                f"There is no second repository {name[:64]!r}.",
                next_step="Look at what there is with `holdfast repository list`.",
            )
        return found

    async def remove(self, name: str) -> None:
        """Forget a repository, with its secret and its caches. What is stored there stays as it is.

        Raises:
            NotFound: ``repository_unknown``.
            Busy: ``repository_in_use``.
        """
        repository = await self.get(name)
        if self._used[name]:
            raise Busy(
                "repository_in_use",
                f"Something is at work on the repository {name}.",
                next_step="Wait until that has ended, or cancel it; see `holdfast operation list`.",
            )
        await self._names.delete(name)
        await asyncio.to_thread(remove_secret, self._fs, self._secret_file(repository.id))
        await asyncio.to_thread(shutil.rmtree, self._local_dir(repository.id), ignore_errors=True)

    async def test(self, name: str) -> RepositoryFacts:
        """Open it, and see what is there.

        Raises:
            HoldfastError: why it can't be used now.
        """
        begun = time.monotonic()

        def look(repository: Repository) -> tuple[int, Sequence[int]]:
            packs = [blob.size for blob in repository.blobs.list_blobs("packs")]
            return len(repository.manifests.ids()), packs

        snapshots, packs = await self.look(name, look)
        return RepositoryFacts(
            snapshots=snapshots, packs=len(packs), bytes=sum(packs), seconds=round(time.monotonic() - begun, 3)
        )

    async def look(self, name: str, ask: Callable[[Repository], T]) -> T:
        """Ask a repository something that is answered soon, in a thread; object storage is waited for shortly.

        Raises:
            Unavailable: ``repository_silent``, or as the storage says.
            HoldfastError: as :func:`opened`, and what ``ask`` raises.
        """
        async with self.using(name, patient=False) as second:

            def run() -> T:
                with opened(self._fs, second) as repository:
                    return ask(repository)

            try:
                async with asyncio.timeout(self._answer_seconds):
                    return await asyncio.get_running_loop().run_in_executor(self._threads, run)
            except TimeoutError as error:
                raise Unavailable(
                    "repository_silent",
                    f"The repository {name} did not answer within {self._answer_seconds:g} s.",
                    next_step="Look at its disk or its storage, and at the way there; then try again. What was asked "
                    "for may still be done.",
                ) from error

    async def patiently(self, name: str, do: Callable[[Repository], T], pace: Pace) -> T:
        """Have something done with a repository that may take long, in a thread.

        Args:
            pace: see :func:`opened`; what it raises ends it.

        Raises:
            HoldfastError: as :func:`opened`, and what ``do`` raises.
        """
        async with self.using(name) as second:

            def run() -> T:
                with opened(self._fs, second, pace=pace) as repository:
                    return do(repository)

            return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    @asynccontextmanager
    async def using(self, name: str, *, patient: bool = True) -> AsyncIterator[Second]:
        """What opens a repository, which isn't forgotten meanwhile.

        Args:
            patient: whether object storage is waited for as long as makes sense; else as long as somebody waits.

        Raises:
            NotFound: ``repository_unknown``.
        """
        repository = await self.get(name)
        with self._use(name):
            yield self._second_of(repository.id, name, repository.place, repository.repository_id, patient=patient)

    async def manifests(self) -> Sequence[SnapshotManifest]:
        """The snapshots of all second repositories that answer. Those that don't are passed over, and logged."""
        found: list[SnapshotManifest] = []
        for repository in await self.list():
            try:
                listing = await self.look(repository.name, lambda opened: opened.manifests.load())
            except HoldfastError as error:
                structlog.get_logger("repositories").warning(
                    "a repository can't be looked into", name=repository.name, code=error.code, reason=error.message
                )
                continue
            found += [stored.manifest for stored in listing.snapshots]
        return found

    async def clean(self) -> None:
        """At start: seal secrets that an earlier version kept in plain, and remove what is left of forgotten ones."""
        known = {repository.id for repository in await self.list()}

        def remove() -> None:
            for suffix in (PLAIN_SUFFIX, SUFFIX):
                for file in self._settings.keys_dir.glob(f"*{suffix}"):
                    if file.stem not in known:
                        remove_secret(self._fs, file)
            for plain in self._settings.keys_dir.glob(f"*{PLAIN_SUFFIX}"):
                self._seal(plain)
            if self._settings.second_dir.is_dir():
                for directory in self._settings.second_dir.iterdir():
                    if directory.name not in known:
                        shutil.rmtree(directory, ignore_errors=True)

        await asyncio.to_thread(remove)

    def _seal(self, plain: Path) -> None:
        try:
            seal_plain(self._fs, plain)
        except HoldfastError as error:  # it is tried again at the next start; nothing else waits for it
            structlog.get_logger("repositories").warning("a secret can't be sealed", file=plain.name, code=error.code)

    @contextmanager
    def _use(self, name: str) -> Iterator[None]:
        self._used[name] += 1
        try:
            yield
        finally:
            self._used[name] -= 1

    def _second_of(
        self, entry_id: str, name: str, place: RepositoryPlace, repository_id: str, *, patient: bool
    ) -> Second:
        return Second(
            name=name,
            place=place,
            repository_id=repository_id,
            key_file=str(self._settings.repository_key_file),
            secret_file=str(self._secret_file(entry_id)) if place.kind is RepositoryKind.S3 else "",
            local_dir=str(self._local_dir(entry_id)),
            owner=self._installation,
            reserve_bytes=self._settings.disk_reserve_bytes,
            patient=patient,
        )

    def _secret_file(self, entry_id: str) -> Path:
        return self._settings.keys_dir / f"{entry_id}{SUFFIX}"

    def _local_dir(self, entry_id: str) -> Path:
        return self._settings.second_dir / entry_id

    def _safe(self, text: str) -> str:
        """A directory's resolved path, if nothing of Holdfast's own, no volume and nothing of the system lies there."""
        given = Path(text)
        if not given.is_absolute() or "\0" in text:
            raise InvalidInput(
                "repository_path_malformed", "A directory is named by its absolute path.", next_step="Correct the path."
            )
        path = given.resolve()
        for never in never_roots(self._settings):
            if path == never or path in never.parents or never in path.parents:
                raise Refused(
                    [
                        Problem(
                            code="repository_place_unsafe",
                            message=f"{path} is not a place for a repository: {never} must stay apart from it.",
                            next_step="Choose a directory outside of Holdfast's own, of those of volumes, and of the "
                            "system's. Nothing was changed.",
                        )
                    ]
                )
        return str(path)
