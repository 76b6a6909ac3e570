"""Hooks: commands inside the workload's instances that make its data whole for a capture, let it go on, or make the
program fit to work on restored data.

- ``pre_snapshot`` runs in every running instance, one after the other, oldest first. One that fails or hangs ends the
  capture; one that hangs is killed, with all that it started.
- That a hook is about to run in an instance is on disk before it does. From then on ``post_snapshot`` runs in that
  instance whatever happens: the capture fails, a person cancels it, its process or the server dies. It runs a second
  time when the server dies just then.
- ``post_restore`` runs in every instance on trial, once it is healthy; one that fails makes the trial unhealthy. After
  an interruption it runs again, in instances made anew: what it left half done there is gone with them.
- What they print is in the operation's log, the last lines of it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from holdfast.domain.errors import Failed, HoldfastError, NotFound, Problem, Refused, Unavailable
from holdfast.domain.restore import ContainerFacts
from holdfast.domain.told import Told, told
from holdfast.domain.workload import Hooks, Workload
from holdfast.engine.holds import Hold, HoldFiles, HookedContainer
from holdfast.runtime.port import LABEL_WORKLOAD, Container, ContainerRuntime, ContainerState
from holdfast.services.operations import OperationContext
from holdfast.services.retrying import until_engine_answers
from holdfast.services.sealed_values import SealedValues

_PLAIN: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
"""What a terminal would obey instead of showing it."""
_TOLD_LINES: Final = 20
"""Lines of a hook's output that are kept in the log, the last ones."""
_TOLD_WIDTH: Final = 300
"""Characters of each of them."""


class OpenHold:
    """A hold that grows while hooks begin: in the file first, then here, and only then in the container."""

    def __init__(self, files: HoldFiles, hold: Hold) -> None:
        self.hold = hold
        self._files = files

    async def begin(self) -> None:
        """Make it durable."""
        await asyncio.to_thread(self._files.write, self.hold)

    async def hooked(self, container: HookedContainer) -> None:
        """Note, durably, that a hook is about to run."""
        hold = dataclasses.replace(self.hold, hooked=(*self.hold.hooked, container))
        writing = asyncio.ensure_future(asyncio.to_thread(self._files.write, hold))
        try:
            await asyncio.shield(writing)
        finally:
            await asyncio.wait([writing])  # also for who gives up: what is in the file has to be undone
            if writing.exception() is None:
                self.hold = hold


class HookRunner:
    """Runs the hooks of locked workloads."""

    def __init__(self, runtime: ContainerRuntime, secrets: SealedValues) -> None:
        self._runtime = runtime
        self._secrets = secrets

    async def before(
        self, ctx: OperationContext, held: OpenHold, hooks: Mapping[str, Hooks], containers: Sequence[ContainerFacts]
    ) -> Mapping[str, str]:
        """Run ``pre_snapshot`` in each of ``containers``. Returns since when each of them runs, by id.

        Args:
            hooks: of the workloads that have any, by id.
            containers: running ones of these workloads, newest first.

        Raises:
            Failed: ``pre_snapshot_failed``, ``pre_snapshot_timeout``. Hooks that began are to be undone by
                :meth:`after`, that of the failed one included.
            Cancelled: a person cancelled; a hook that was running is killed.
        """
        seen = [await self._runtime.inspect(facts.id) for facts in reversed(containers)]
        workload_of = {facts.id: facts.workload_id for facts in containers}
        for container in seen:
            with ctx.interruptible():
                await self._run_before(ctx, held, hooks[workload_of[container.id]], container)
        for container in seen:
            now = await self._runtime.inspect(container.id)
            if (now.state, now.started_at) != (ContainerState.RUNNING, container.started_at):
                raise _failed(container, "the container did not stay as it was after its hook", {"state": now.state})
        return {container.id: container.started_at for container in seen}

    async def _run_before(self, ctx: OperationContext, held: OpenHold, hooks: Hooks, container: Container) -> None:
        async def about_to_run(exec_id: str) -> None:
            await held.hooked(
                HookedContainer(
                    id=container.id,
                    name=container.name,
                    exec_id=exec_id,
                    post_snapshot=hooks.post_snapshot,
                    timeout=hooks.timeout,
                )
            )

        try:
            result = await self._runtime.exec(container.id, hooks.pre_snapshot, hooks.timeout, on_made=about_to_run)
        except Failed as error:
            if error.code != "exec_timeout":
                raise _failed(container, f"it could not be run: {error.message}", {"cause": error.code}) from error
            await self._tell(ctx, "pre_snapshot", container, str(error.details.get("output", "")))
            raise Failed(
                "pre_snapshot_timeout",
                f"The pre_snapshot hook did not end within {hooks.timeout:g} s in the container {container.name}"
                + (" and was killed" if error.details.get("killed") else "; it could not be killed and may still run")
                + ": no snapshot was taken.",
                next_step="Look at what the hook waits for, or give it more time (hooks.timeout).",
                details={"container": container.name, "killed": bool(error.details.get("killed"))},
            ) from error
        await self._tell(ctx, "pre_snapshot", container, result.output)
        if result.code != 0:
            raise _failed(container, f"it ended with {result.code}", {"exit_code": result.code})

    async def after(self, ctx: OperationContext, hold: Hold) -> tuple[Told, ...]:
        """End what still runs of the hooks that began, and run ``post_snapshot`` where they did.

        Waits for an engine that does not answer. The newest began last and is undone first.

        Returns:
            What went wrong; each is in the operation's log, too.
        """
        wrong: list[Told] = []
        for hooked in reversed(hold.hooked):
            why = await until_engine_answers(ctx, partial(self._undo, ctx, hooked))
            if why is not None:
                wrong.append(why)
                ctx.log(why, level="error")
        return tuple(wrong)

    async def _undo(self, ctx: OperationContext, hooked: HookedContainer) -> Told | None:
        """Returns what went wrong, or nothing."""
        try:
            if not await self._runtime.end_exec(hooked.id, hooked.exec_id):
                ctx.log(
                    told(
                        "hook_may_run",
                        "the pre_snapshot hook could not be ended in the container {container} and may still run",
                        container=hooked.name,
                    ),
                    level="error",
                )
            if not hooked.post_snapshot:
                return None
            container = await self._runtime.inspect(hooked.id)
            if container.state not in (ContainerState.RUNNING, ContainerState.PAUSED):
                ctx.log(
                    told(
                        "hook_not_needed",
                        "nothing runs any more in the container {container}: no post_snapshot hook was needed",
                        container=hooked.name,
                    ),
                    level="warning",
                )
                return None
            result = await self._runtime.exec(hooked.id, hooked.post_snapshot, hooked.timeout)
        except NotFound:
            ctx.log(
                told(
                    "hook_container_gone",
                    "the container {container} is gone: it needs no post_snapshot hook",
                    container=hooked.name,
                ),
                level="warning",
            )
            return None
        except Unavailable:
            raise
        except HoldfastError as error:
            return told(
                "hook_failed",
                "The post_snapshot hook failed in the container {container}: {why}",
                container=hooked.name,
                why=Told.of(error),
            )
        await self._tell(ctx, "post_snapshot", container, result.output)
        if result.code == 0:
            return None
        return told(
            "hook_ended",
            "The post_snapshot hook ended with {exit_code} in the container {container}.",
            exit_code=result.code,
            container=hooked.name,
        )

    async def restored(self, ctx: OperationContext, workload: Workload, container_ids: Iterable[str]) -> None:
        """Run ``post_restore`` in each of a workload's instances, one after the other.

        Raises:
            Failed: ``post_restore_failed``.
            Cancelled: a person cancelled.
            Unavailable: the engine does not answer; the hook may still run.
        """
        hooks = workload.spec.hooks
        for container_id in container_ids:
            name = container_id[:12]
            try:
                container = await self._runtime.inspect(container_id)
                name = container.name
                await self._run_restored(ctx, hooks, container)
                now = await self._runtime.inspect(container_id)
            except NotFound as error:
                raise _unfit(name, "the container is gone", {"cause": error.code}) from error
            if (now.state, now.started_at) != (ContainerState.RUNNING, container.started_at):
                raise _unfit(name, "the container did not stay as it was after its hook", {"state": now.state})

    async def _run_restored(self, ctx: OperationContext, hooks: Hooks, container: Container) -> None:
        try:
            with ctx.interruptible():
                result = await self._runtime.exec(container.id, hooks.post_restore, hooks.timeout)
        except Failed as error:
            await self._tell(ctx, "post_restore", container, str(error.details.get("output", "")))
            killed = bool(error.details.get("killed"))
            why = f"it could not be run: {error.message}"
            if error.code == "exec_timeout":
                why = f"it did not end within {hooks.timeout:g} s"
                why += " and was killed" if killed else "; it could not be killed and may still run"
            raise _unfit(container.name, why, {"cause": error.code, "killed": killed}) from error
        await self._tell(ctx, "post_restore", container, result.output)
        if result.code != 0:
            raise _unfit(container.name, f"it ended with {result.code}", {"exit_code": result.code})

    async def _tell(self, ctx: OperationContext, hook: str, container: Container, output: str) -> None:
        """The last lines of what a hook printed, without the values of the workload's secrets."""
        masked = await self._secrets.masked(container.labels.get(LABEL_WORKLOAD, ""))
        if masked.complete:
            ctx.log_lines(_told(hook, container.name, masked.text(output)))
        else:
            ctx.log(
                told(
                    "hook_output_hidden",
                    "{hook} in {container}: what it printed may hold secrets that can't be opened",
                    hook=hook,
                    container=container.name,
                )
            )


def check_hooks(workload: Workload) -> None:
    """Whether the workload has a hook that could hold it.

    Raises:
        Refused: ``hooks_missing``.
    """
    if not workload.spec.hooks.pre_snapshot:
        raise Refused(
            [
                Problem(
                    code="hooks_missing",
                    message=f"The workload {workload.name} declares no pre_snapshot hook, so hooks can't hold it.",
                    next_step="Add hooks.pre_snapshot to its declaration and apply that, or take the snapshot with "
                    "quiesce pause or stop.",
                )
            ]
        )


def release_failed(wrong: Sequence[Told], *, what_stands: str, snapshot_id: str | None = None) -> Failed:
    """The error for post_snapshot hooks that failed.

    Args:
        wrong: what :meth:`HookRunner.after` returned.
        what_stands: a sentence about the snapshot.
    """
    failures = list(map(str, wrong))
    return Failed(
        "post_snapshot_failed",
        f"{what_stands} {' '.join(failures)} What runs there may still be held as its pre_snapshot hook left it.",
        next_step="Look at the hook's output in this operation's log; let the program go on by hand, or redeploy it.",
        details={"failures": failures} | ({} if snapshot_id is None else {"snapshot_id": snapshot_id}),
    )


def _failed(container: Container, why: str, details: Mapping[str, object]) -> Failed:
    return Failed(
        "pre_snapshot_failed",
        f"The pre_snapshot hook failed in the container {container.name}: {why}. No snapshot was taken.",
        next_step="Look at the hook's output in this operation's log, mend the hook, then take the snapshot again.",
        details={"container": container.name, **details},
    )


def _unfit(container: str, why: str, details: Mapping[str, object]) -> Failed:
    return Failed(
        "post_restore_failed",
        f"The post_restore hook failed in the container {container}: {why}.",
        next_step="Look at the hook's output in this operation's log, mend the hook, then restore again.",
        details={"container": container, **details},
    )


def _told(hook: str, container: str, output: str) -> Iterable[Told]:
    """The last lines of what a hook printed, for the log."""
    lines = [_PLAIN.sub("\ufffd", line.strip()) for line in output.splitlines() if line.strip()]
    if len(lines) > _TOLD_LINES:
        yield told(
            "hook_lines_left_out",
            "{hook} in {container}: ({count} lines before are left out)",
            hook=hook,
            container=container,
            count=len(lines) - _TOLD_LINES,
        )
    for line in lines[-_TOLD_LINES:]:
        cut = line if len(line) <= _TOLD_WIDTH else f"{line[:_TOLD_WIDTH]} …"
        yield told("hook_printed", "{hook} in {container}: {line}", hook=hook, container=container, line=cut)
