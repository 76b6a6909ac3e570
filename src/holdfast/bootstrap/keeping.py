"""What is done by itself, and what tells of it."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.bootstrap.backups import BackupParts
from holdfast.bootstrap.base import Base
from holdfast.bootstrap.deploying import Deploying
from holdfast.bootstrap.restoring import Restoring
from holdfast.services.alarms import Alarms
from holdfast.services.doctor import Doctor
from holdfast.services.notifications import Notifications
from holdfast.services.scheduled_care import ScheduledCare
from holdfast.services.scheduled_drills import ScheduledDrills
from holdfast.services.scheduled_snapshots import ScheduledSnapshots, schedule_facts
from holdfast.services.scheduled_updates import ScheduledUpdates
from holdfast.services.scheduler import Scheduler
from holdfast.store.notices import ChannelStore, Outbox
from holdfast.store.previews import PreviewStore
from holdfast.store.schedules import ScheduleStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What it is made of, as far as others need it."""

    scheduler: Scheduler
    notifications: Notifications
    doctor: Doctor
    alarms: Alarms


def keeping_of(base: Base, deploying: Deploying, restoring: Restoring, own: BackupParts) -> Keeping:
    """Build it. Nothing begins before it is started."""
    scheduled_snapshots = ScheduledSnapshots(
        settings=base.settings,
        workloads=base.workload_store,
        previews=PreviewStore(base.database),
        snapshots=restoring.snapshots,
        care=restoring.care,
        locks=base.locks,
    )
    scheduled_drills = ScheduledDrills(
        settings=base.settings,
        workloads=base.workload_store,
        snapshots=restoring.snapshots,
        drills=restoring.drills,
    )
    scheduled_updates = ScheduledUpdates(
        settings=base.settings,
        workloads=base.workload_store,
        records=deploying.records,
        images=deploying.images,
        deployer=deploying.deployer,
        operations=base.operations,
        locks=base.locks,
    )
    scheduled_care = ScheduledCare(
        settings=base.settings, care=restoring.care, copies=restoring.copies, repositories=deploying.repositories
    )
    scheduler = Scheduler(
        clock=base.seams.clock,
        zone=base.settings.zone,
        store=ScheduleStore(base.database),
        operations=base.operations,
        work=[scheduled_snapshots, scheduled_care, scheduled_drills, scheduled_updates, own.scheduled],
        most=max(1, base.settings.workers - 1),  # one is left for people
    )
    outbox = Outbox(base.database)
    notifications = Notifications(
        clock=base.seams.clock,
        sealing=base.sealing,
        channels=ChannelStore(base.database),
        outbox=outbox,
    )
    doctor = Doctor(
        settings=base.settings,
        runtime=base.runtime,
        fs=base.fs,
        database_check=base.database.check,
        snapshot_facts=restoring.snapshots.facts,
        unfinished_restores=restoring.restores.unfinished,
        schedule_facts=lambda: schedule_facts(scheduler, scheduled_snapshots),
        unreadable_secrets=deploying.secrets.unreadable,
        channel_facts=notifications.facts,
        backups=own.scheduled.finding,
        leftovers=lambda: [left.told for left in deploying.reaper.left()],
        edge=deploying.traffic.sync,
    )

    alarms = Alarms(clock=base.seams.clock, outbox=outbox, schedules=scheduler.list, space=doctor.space)
    return Keeping(
        scheduler=scheduler,
        notifications=notifications,
        doctor=doctor,
        alarms=alarms,
    )
