"""Secrets: set, list, remove; a ``.env`` file into a workload's configuration; the same values for a clone.

Invariants:

- A value comes in and never goes out again but into the environment of the workload's containers.
- Setting one is a change of the configuration: under the workload's lifecycle lock, it runs with the next deployment,
  and a rollback returns to the value of then. Like an ``apply`` it waits for nobody; it says who is at work.
- Both are stored together or not at all, and what is stored already is not stored again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

import structlog

from holdfast.domain.changes import changes
from holdfast.domain.environment import (
    MAX_ENV_CHARACTERS,
    MAX_VALUE_CHARACTERS,
    MAX_VARIABLES,
    SecretRef,
    check_secret_value,
    check_secrets_size,
)
from holdfast.domain.errors import Conflict, NotFound, Problem, TooLarge
from holdfast.domain.times import now
from holdfast.domain.told import Told, told
from holdfast.domain.workload import Workload, WorkloadSpec
from holdfast.engine.sealing import OVERHEAD
from holdfast.services.env_file import read_env_file
from holdfast.services.locks import LifecycleLocks
from holdfast.services.sealed_values import SealedValues, ref_of
from holdfast.services.workloads import ApplyResult, Workloads
from holdfast.store.secrets import SealedSecret, SecretStore


class SecretState(StrEnum):
    """How a secret is."""

    SET = "set"
    NOT_SET = "not_set"
    """The configuration names it, and it has no value yet."""
    UNREADABLE = "unreadable"
    """Its value can't be opened: the key is lost, or it is damaged."""
    UNUSED = "unused"
    """It has a value, and the configuration doesn't name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFacts:
    """What may be known of a secret.

    Attributes:
        set_at: when its present value was set; empty while it has none.
    """

    name: str
    state: SecretState
    set_at: str


class Secrets:
    """The secrets of all workloads.

    Args:
        everyone: all workloads.
        require_decided: raises ``Conflict`` while a restore of the workload (by id) waits for a person's decision.
    """

    def __init__(
        self,
        *,
        workloads: Workloads,
        store: SecretStore,
        values: SealedValues,
        locks: LifecycleLocks,
        everyone: Callable[[], Awaitable[Sequence[Workload]]],
        require_decided: Callable[[str], object],
    ) -> None:
        self._workloads = workloads
        self._store = store
        self._values = values
        self._locks = locks
        self._everyone = everyone
        self._require_decided = require_decided
        self._log = structlog.get_logger("secrets")

    async def list(self, ref: str) -> tuple[SecretFacts, ...]:
        """A workload's secrets, by name.

        Raises:
            NotFound: ``workload_unknown``.
        """
        workload = await self._workloads.get(ref)
        unreadable = _unreadable(await self._values.problems(workload))
        found = {
            value.name: SecretFacts(name=value.name, state=SecretState.UNUSED, set_at=value.set_at)
            for value in await self._store.of(workload.id)
            if not value.removed
        }
        for secret in workload.spec.secrets:
            state = SecretState.SET if secret.version else SecretState.NOT_SET
            if secret.name in unreadable:
                state = SecretState.UNREADABLE
            found[secret.name] = SecretFacts(name=secret.name, state=state, set_at=secret.set_at)
        return tuple(found[name] for name in sorted(found))

    async def problems(self, workload: Workload, wanted: WorkloadSpec | None = None) -> Sequence[Problem]:
        """Why containers of a workload can't be made: ``secret_not_set``, ``secret_unreadable``.

        Args:
            wanted: a configuration; only the secrets that it names, too, matter.
        """
        return await self._values.problems(workload if wanted is None else _only(workload, wanted))

    async def unreadable(self) -> Sequence[str]:
        """The secrets of all workloads that can't be opened, in words: ``notes: NOTES_KEY``."""
        found = []
        for workload in await self._everyone():
            names = _unreadable(await self._values.problems(workload))
            if names:
                found.append(f"{workload.name}: {', '.join(names)}")
        return found

    async def set(self, ref: str, name: str, value: str, *, actor: str) -> ApplyResult:
        """Set a secret. What runs gets it with the next deployment.

        Raises:
            InvalidInput: ``secret_empty``, ``secret_malformed``.
            TooLarge: ``secret_too_large``, ``secrets_too_large``.
            NotFound: ``workload_unknown``.
            Conflict: ``restore_undecided``, ``variable_not_secret``.
            Busy: ``workload_busy``, naming who is at work on it.
        """
        check_secret_value(name, value)
        async with self._locked(ref, told("a_secret_set", "secret set by {actor}", actor=actor)) as workload:
            if any(variable == name for variable, _ in workload.spec.env):
                raise Conflict(
                    "variable_not_secret",
                    f"{name} is in the env of {workload.name}, where everybody can read it.",
                    next_step=f"Take it out of env and apply that, then set the secret; or import it from a file: "
                    f"holdfast env import {workload.name} FILE --secret {name}",
                    details={"name": name},
                )
            return await self._change(workload, workload.spec, {name: value}, actor)

    async def remove(self, ref: str, name: str, *, actor: str) -> ApplyResult:
        """Take a secret out of the configuration. Its values stay only where a deployment of before names them.

        Raises:
            NotFound: ``workload_unknown``, ``secret_unknown``.
            Conflict: ``restore_undecided``.
            Busy: ``workload_busy``.
        """
        async with self._locked(ref, told("a_secret_removal", "secret remove by {actor}", actor=actor)) as workload:
            known = {value.name for value in await self._store.of(workload.id) if not value.removed}
            if name not in known | {secret.name for secret in workload.spec.secrets}:
                raise NotFound(
                    "secret_unknown",
                    f"{workload.name} has no secret {name}.",
                    next_step=f"See which there are: holdfast secret list {workload.name}",
                )
            left = tuple(secret for secret in workload.spec.secrets if secret.name != name)
            spec = replace(workload.spec, secrets=left)
            after = await self._store.remove(workload.id, spec, name, actor)
            self._log.info("secret_removed", workload=workload.name, secret=name, actor=actor)
            return ApplyResult(workload=after, created=False, changes=changes(workload.spec, spec))

    async def import_env(
        self, ref: str, text: str, secret: Collection[str], *, dry_run: bool, actor: str
    ) -> ApplyResult:
        """Take over the variables of a ``.env`` file. Others of the workload stay as they are.

        Args:
            secret: names of the file's variables that are secrets. One that is a secret of the workload stays one.

        Raises:
            InvalidInput: ``env_file_malformed``, ``env_name_not_there``, ``secret_empty``, ``secret_malformed``.
            TooLarge: ``env_file_too_large``, ``env_too_large``, ``secret_too_large``, ``secrets_too_large``.
            NotFound: ``workload_unknown``.
            Conflict: ``restore_undecided``.
            Busy: ``workload_busy``.
        """
        found = read_env_file(text, required=secret)
        async with self._locked(ref, told("an_env_import", "env import by {actor}", actor=actor)) as workload:
            hidden = {*secret, *(known.name for known in workload.spec.secrets)}
            values = {name: value for name, value in found.items() if name in hidden}
            for name, value in values.items():
                check_secret_value(name, value)
            plain = {name: value for name, value in found.items() if name not in hidden}
            env = {name: value for name, value in workload.spec.env if name not in values} | plain
            _check_env(env)
            spec = replace(workload.spec, env=tuple(sorted(env.items())))
            return await self._change(workload, spec, values, actor, dry_run=dry_run)

    async def copy(self, source: Workload, workload: Workload) -> Workload:
        """Give a workload that was just made the values that another one has of the secrets that it names, too.

        Raises:
            Refused: one of them can't be opened.
        """
        source = _only(source, workload.spec)
        if not source.spec.secrets:
            return workload
        values = await self._values.environment(source)
        async with self._locked(workload.id, told("a_clone_of", "clone of {source}", source=source.name)) as there:
            changed = await self._change(there, there.spec, values, "clone")
            assert changed.workload is not None  # only that of a new workload's preview is
            return changed.workload

    async def _change(
        self,
        workload: Workload,
        spec: WorkloadSpec,
        values: Mapping[str, str],
        actor: str,
        *,
        dry_run: bool = False,
    ) -> ApplyResult:
        """Give a workload a configuration with other values of secrets."""
        opened = await self._values.present(workload)
        new = {name: value for name, value in values.items() if opened.get(name) != value}
        stored = {value.id: value for value in await self._store.of(workload.id)}
        kept = [secret for secret in spec.secrets if secret.name not in new]
        sizes = [len(stored[secret.version].sealed) - OVERHEAD for secret in kept if secret.version in stored]
        check_secrets_size([*sizes, *(len(value.encode()) for value in new.values())])
        sealed: list[SealedSecret] = []
        if dry_run:
            at = now()
            named = [SecretRef(name=name, version="new", set_at=at) for name in new]
        else:
            sealed = await self._values.sealed(workload.id, new)
            named = [ref_of(value) for value in sealed]
        spec = replace(spec, secrets=tuple(sorted([*kept, *named], key=lambda secret: secret.name)))
        found = changes(workload.spec, spec)
        if not dry_run and spec != workload.spec:
            workload = await self._store.set(workload.id, spec, sealed, actor)
            self._log.info(
                "workload_changed", workload=workload.name, actor=actor, paths=[change.path for change in found]
            )
        return ApplyResult(workload=workload, created=False, changes=found)

    @asynccontextmanager
    async def _locked(self, ref: str, why: Told) -> AsyncIterator[Workload]:
        workload = await self._workloads.get(ref)
        async with self._locks.hold_briefly([workload.id], why):
            self._require_decided(workload.id)
            yield await self._workloads.get(workload.id)


def _only(workload: Workload, wanted: WorkloadSpec) -> Workload:
    """The workload without the secrets that another configuration does not name."""
    names = {secret.name for secret in wanted.secrets}
    kept = tuple(secret for secret in workload.spec.secrets if secret.name in names)
    return replace(workload, spec=replace(workload.spec, secrets=kept))


def _unreadable(problems: Sequence[Problem]) -> Sequence[str]:
    """The names of secrets that can't be opened."""
    told = [problem.details["secrets"] for problem in problems if problem.code == "secret_unreadable"]
    return sorted(str(name) for names in told if isinstance(names, list) for name in names)


def _check_env(env: Mapping[str, str]) -> None:
    characters = sum(len(name) + len(value) for name, value in env.items())
    longest = max(map(len, env.values()), default=0)
    if len(env) > MAX_VARIABLES or characters > MAX_ENV_CHARACTERS or longest > MAX_VALUE_CHARACTERS:
        raise TooLarge(
            "env_too_large",
            f"A workload has at most {MAX_VARIABLES} variables, of {MAX_ENV_CHARACTERS // 1024} KiB all together and "
            f"{MAX_VALUE_CHARACTERS // 1024} KiB each.",
            next_step="Nothing was changed. Put large texts into a file on a volume.",
        )
