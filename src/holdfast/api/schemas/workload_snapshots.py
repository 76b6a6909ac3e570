"""The models of what a declaration says about snapshots: how they are taken, and which of them are kept."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from holdfast.api.schemas.workload_values import STRICT, Duration, Text, problem
from holdfast.cron import Cron
from holdfast.domain.retention import KEEP_RULES, Keep
from holdfast.domain.schedule import OnMissed
from holdfast.domain.workload import DrillPolicy, Hooks, Quiesce, SnapshotPolicy

_HOOKS: Final = Hooks()
_POLICY: Final = SnapshotPolicy()
_Command = Annotated[list[Text], Field(max_length=1000)]


class _Model(BaseModel):
    model_config = STRICT


class HooksModel(_Model):
    """Commands that run inside of the workload's containers, as their own user. Around a snapshot taken with quiesce
    `hooks`, `pre_snapshot` makes the program's data whole on disk and keeps it so, and `post_snapshot` lets it go on;
    `post_restore` makes the program fit to work on restored data.
    """

    pre_snapshot: Annotated[
        _Command,
        Field(
            description="Program and arguments. If it fails or hangs, no snapshot is taken.",
            examples=[["redis-cli", "save"]],
        ),
    ] = []
    post_snapshot: Annotated[
        _Command,
        Field(
            description="Program and arguments. It runs whatever happened since `pre_snapshot` began, if need be at "
            "the next start of Holdfast; then it may run a second time.",
        ),
    ] = []
    post_restore: Annotated[
        _Command,
        Field(
            description="Program and arguments. It runs once what a restore put in place is healthy; if it fails or "
            "hangs, that counts as unhealthy. It may run more than once.",
            examples=[["app-ctl", "reindex"]],
        ),
    ] = []
    timeout: Annotated[
        Duration, Field(ge=1, le=3600, description="How long each may take before it is killed, with all it started.")
    ] = _HOOKS.timeout

    @field_validator("pre_snapshot", "post_snapshot", "post_restore")
    @classmethod
    def _names_a_program(cls, command: list[str]) -> list[str]:
        if command and not command[0].strip():
            raise problem("value_malformed", "names no program", "Write the program first, then its arguments.")
        return command

    @field_validator("post_snapshot")
    @classmethod
    def _undoes_something(cls, command: list[str], info: ValidationInfo) -> list[str]:
        if command and info.data.get("pre_snapshot") == []:
            raise problem(
                "key_has_no_effect",
                "runs only where a pre_snapshot hook ran",
                "Add hooks.pre_snapshot, or remove it.",
            )
        return command

    def hooks(self) -> Hooks:
        """The hooks as the inside of Holdfast knows them."""
        return Hooks(
            pre_snapshot=tuple(self.pre_snapshot),
            post_snapshot=tuple(self.post_snapshot),
            post_restore=tuple(self.post_restore),
            timeout=self.timeout,
        )


_Count = Annotated[int, Field(ge=1, le=10_000)]


class KeepModel(_Model):
    """Which snapshots a prune keeps; the others go. Each rule counts only periods that have a snapshot, and keeps the
    newest of each. In any case kept: the newest that is not damaged, pinned ones, what a restore may still need.
    """

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    last: Annotated[_Count | None, Field(description="The last ones, whenever they were taken.", examples=[7])] = None
    hourly: Annotated[_Count | None, Field(description="Of so many hours the newest.")] = None
    daily: Annotated[_Count | None, Field(description="Of so many days the newest.", examples=[14])] = None
    weekly: Annotated[_Count | None, Field(description="Of so many weeks the newest. Weeks begin on Monday.")] = None
    monthly: Annotated[_Count | None, Field(description="Of so many months the newest.")] = None
    yearly: Annotated[_Count | None, Field(description="Of so many years the newest.")] = None

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if not any(getattr(self, rule) for rule in KEEP_RULES):
            raise problem("key_has_no_effect", "keeps nothing", f"Say how many: {', '.join(KEEP_RULES)}.")
        return self

    def keep(self) -> Keep:
        """The rules as the inside of Holdfast knows them."""
        return Keep(**{rule: getattr(self, rule) or 0 for rule in KEEP_RULES})


def due(schedule: str | None) -> str | None:
    """A schedule as cron writes it, its parts one blank apart."""
    if schedule is None:
        return None
    try:
        Cron(schedule)
    except ValueError as error:
        raise problem(
            "schedule_malformed",
            f"can't be used: it {error}",
            'For example "0 3 * * *": every day at three; see man 5 crontab.',
        ) from error
    return " ".join(schedule.split())


class DrillModel(_Model):
    """How it is proved that the snapshots can be restored: into a throw-away copy of the workload, on a network that
    leads to no other, with the image that ran when the snapshot was taken; it has to become healthy, and is removed.
    """

    schedule: Annotated[
        Text | None,
        Field(
            description="When that is done with the newest snapshot by itself, as cron writes it; never if left out.",
            examples=["0 5 * * 0"],
        ),
    ] = None
    command: Annotated[
        _Command,
        Field(
            description="Program and arguments, run in the copy once it is healthy. It has to end with 0.",
            examples=[["sqlite3", "/data/notes.db", "pragma integrity_check"]],
        ),
    ] = []
    timeout: Annotated[Duration, Field(ge=1, le=3600, description="How long the command may take.")] = (
        _POLICY.drill.timeout
    )

    _comes_due = field_validator("schedule")(due)

    @field_validator("command")
    @classmethod
    def _names_a_program(cls, command: list[str]) -> list[str]:
        if command and not command[0].strip():
            raise problem("value_malformed", "names no program", "Write the program first, then its arguments.")
        return command

    def policy(self) -> DrillPolicy:
        """The same as the inside of Holdfast knows it."""
        return DrillPolicy(schedule=self.schedule, command=tuple(self.command), timeout=self.timeout)


class SnapshotsModel(_Model):
    """How the workload's snapshots are taken, and which are kept."""

    quiesce: Annotated[
        Quiesce,
        Field(
            strict=False,
            description="How the containers are held while a snapshot is taken, unless its caller says otherwise: "
            "`pause` freezes them, `stop` stops and starts them again, `hooks` runs `hooks.pre_snapshot` and "
            "`hooks.post_snapshot` in them, `none` captures while they write.",
        ),
    ] = Quiesce.PAUSE
    before_deploy: Annotated[
        bool,
        Field(
            description="Whether one is taken right before another version runs on the data, so that code and data "
            "can return together: with `recreate` once the old version has stopped, else held as `quiesce` says."
        ),
    ] = _POLICY.before_deploy
    keep: Annotated[
        KeepModel | None, Field(description="Which of them `holdfast snapshot prune` keeps; all if left out.")
    ] = None
    schedule: Annotated[
        Text | None,
        Field(
            description="When a snapshot is taken by itself, as cron writes it: minute, hour, day of the month, month, "
            "day of the week, in the workload's `time_zone`. Never if left out.",
            examples=["0 3 * * *"],
        ),
    ] = None
    missed: Annotated[
        OnMissed,
        Field(
            strict=False,
            description="What becomes of a scheduled snapshot that could not begin within an hour, or its interval: "
            "the server was down or the workload busy: `catch_up` takes it as soon as it can be, once, however many "
            "were missed; `tell` leaves it out, and counts it as failed.",
        ),
    ] = OnMissed.CATCH_UP

    drill: Annotated[DrillModel, Field(description="How it is proved that they can be restored.")] = DrillModel()

    _comes_due = field_validator("schedule")(due)

    @model_validator(mode="after")
    def _misses_something(self) -> Self:
        if self.schedule is None and "missed" in self.model_fields_set:
            raise problem("key_has_no_effect", "has a key that does nothing without schedule: missed", "Remove missed.")
        return self

    def policy(self) -> SnapshotPolicy:
        """The same as the inside of Holdfast knows it."""
        return SnapshotPolicy(
            quiesce=self.quiesce,
            before_deploy=self.before_deploy,
            keep=None if self.keep is None else self.keep.keep(),
            schedule=self.schedule,
            missed=self.missed,
            drill=self.drill.policy(),
        )
