"""The values of secrets for those who make containers: opened when one is made, and in no hand longer than that.

Invariants:

- A sealed value opens only as the version that it is, of the secret and the workload that it was set for.
- What can't be opened is found before anything is touched, and told by the names that have to be set again.
- What a program with secrets printed before it failed is recorded without their values.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from holdfast.domain.environment import SecretRef
from holdfast.domain.errors import Damaged, Failed, HoldfastError, Problem, Refused
from holdfast.domain.ids import new_id
from holdfast.domain.masking import Masked
from holdfast.domain.times import now
from holdfast.domain.workload import Workload, WorkloadSpec
from holdfast.engine.sealing import Sealing
from holdfast.store.secrets import SealedSecret, SecretStore


class SealedValues:
    """Seals values, and opens those that configurations name."""

    def __init__(self, store: SecretStore, sealing: Sealing) -> None:
        self._store = store
        self._sealing = sealing

    async def environment(self, workload: Workload) -> dict[str, str]:
        """The secrets of a workload as its configuration names them, by name.

        Raises:
            Refused: see :meth:`problems`.
        """
        values, problems = await self._opened(workload)
        if problems:
            raise Refused(problems)
        return values

    async def problems(self, workload: Workload) -> list[Problem]:
        """Why containers of this configuration can't be made: ``secret_not_set``, ``secret_unreadable``."""
        return (await self._opened(workload))[1]

    async def present(self, workload: Workload) -> Mapping[str, str]:
        """The values that can be opened, by name."""
        return (await self._opened(workload))[0]

    @asynccontextmanager
    async def masking(self, workload_id: str) -> AsyncIterator[None]:
        """Take the values of a workload's secrets out of what the block raises."""
        try:
            yield
        except HoldfastError as error:
            masked = await self.masked(workload_id)
            masked.error(error)
            if not masked.complete:
                error.details.pop("logs", None)  # nobody can tell what is in them
            raise

    async def masked(self, workload_id: str) -> Masked:
        """What takes a workload's values out of text, those of earlier deployments included."""
        stored = await self._store.of(workload_id)
        return await asyncio.to_thread(self._masked, stored) if stored else Masked(())

    async def sealed(self, workload_id: str, values: Mapping[str, str]) -> list[SealedSecret]:
        """Seal values, each as a new version. Nothing is stored.

        Raises:
            Failed, NoSpace: see :meth:`Sealing.seal`.
        """
        return await asyncio.to_thread(self._sealed, workload_id, values)

    async def resolved(self, spec: WorkloadSpec, existing: Workload | None) -> WorkloadSpec:
        """A declared configuration, which names secrets, with the versions that are meant.

        That is the present one; for a name that is new in the configuration the one that was set last, if any was.
        """
        if not spec.secrets or existing is None:
            return spec
        present = {secret.name: secret for secret in existing.spec.secrets if secret.version}
        stored = [value for value in await self._store.of(existing.id) if not value.removed]
        last = {value.name: ref_of(value) for value in stored}
        return replace(
            spec,
            secrets=tuple(
                (last | present).get(secret.name, secret) for secret in sorted(spec.secrets, key=lambda each: each.name)
            ),
        )

    def _sealed(self, workload_id: str, values: Mapping[str, str]) -> list[SealedSecret]:
        sealed = []
        for name, value in values.items():
            version = new_id()
            content = self._sealing.seal(_what(workload_id, name, version), value.encode())
            sealed.append(SealedSecret(id=version, workload_id=workload_id, name=name, sealed=content, set_at=now()))
        return sealed

    def _masked(self, stored: Sequence[SealedSecret]) -> Masked:
        values = []
        for value in stored:
            with suppress(Failed, Damaged):
                values.append(self._opened_value(value))
        return Masked(values, complete=len(values) == len(stored))

    def _opened_value(self, value: SealedSecret) -> str:
        return self._sealing.open(_what(value.workload_id, value.name, value.id), value.sealed).decode()

    async def _opened(self, workload: Workload) -> tuple[dict[str, str], list[Problem]]:
        refs = workload.spec.secrets
        if not refs:
            return {}, []
        stored = {value.id: value for value in await self._store.of(workload.id)}
        return await asyncio.to_thread(self._open, workload, refs, stored)

    def _open(
        self, workload: Workload, refs: Sequence[SecretRef], stored: Mapping[str, SealedSecret]
    ) -> tuple[dict[str, str], list[Problem]]:
        values: dict[str, str] = {}
        unset: list[str] = []
        unreadable: dict[str, list[str]] = {}
        for ref in refs:
            value = stored.get(ref.version)
            if not ref.version:
                unset.append(ref.name)
            elif value is None:
                unreadable.setdefault("it is not in the database any more", []).append(ref.name)
            else:
                try:
                    values[ref.name] = self._opened_value(replace(value, name=ref.name))
                except (Failed, Damaged) as error:
                    unreadable.setdefault(error.message.rstrip("."), []).append(ref.name)
        problems = [_not_set(workload, unset)] if unset else []
        return values, problems + [_unreadable(workload, names, why) for why, names in unreadable.items()]


def ref_of(value: SealedSecret) -> SecretRef:
    """How a configuration names a value."""
    return SecretRef(name=value.name, version=value.id, set_at=value.set_at)


def _what(workload_id: str, name: str, version: str) -> str:
    return f"secret {workload_id} {name} {version}"


def _not_set(workload: Workload, names: Iterable[str]) -> Problem:
    listed = list(names)
    return Problem(
        code="secret_not_set",
        message=f"{workload.name} needs secrets that have no value yet: {', '.join(listed)}.",
        next_step=f"Set each: holdfast secret set {workload.name} {listed[0]}",
        details={"workload": workload.name, "secrets": listed},
    )


def _unreadable(workload: Workload, names: Sequence[str], why: str) -> Problem:
    return Problem(
        code="secret_unreadable",
        message=f"Secrets of {workload.name} can't be opened: {', '.join(names)}. {why}.",
        next_step="Put the key back from its copy (docs/how-to/secrets.md). If it is lost, set each of them again: "
        f"holdfast secret set {workload.name} {names[0]}",
        details={"workload": workload.name, "secrets": list(names)},
    )
