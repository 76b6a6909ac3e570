"""The state machine: random work on real servers, disturbed at random, and after each step all is as the model says.

Checked after each step, and so after each recovery: what every volume holds, to the byte; which snapshots there are,
and which are pinned; that each new one holds exactly what was live, and at the end that all still do; who runs, with
which image and policy; and that nothing is left over. What an operation says of itself (I8) decides what must be there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from tests.faults.stateful_bench import Fault, Full, Kill, StatefulBench, Way, is_instance
from tests.faults.stateful_model import CRASHING, POLICIES, UNDOABLE, VERSIONS, VOLUMES, Instance, State, written
from tests.faults.stateful_servers import ACTOR, Act, Done

from holdfast.bootstrap import Holdfast
from holdfast.domain.operation import Operation
from holdfast.domain.restore import OnUnhealthy, RestoreResult
from holdfast.domain.retention import Keep
from holdfast.domain.workload import Quiesce, RestartPolicy, SnapshotPolicy, WorkloadSpec
from holdfast.testing.fake_records import Outage
from holdfast.testing.installation import spec_of

KEPT_OF_SHELF: Final = 2
"""So many snapshots of the shelf a prune leaves; of the notes it leaves all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which restore somebody wants.

    Attributes:
        pick: the number of the snapshot, among those of workloads that exist.
        part: the target of one volume, or all of them.
    """

    pick: int
    part: str = "all"
    on_unhealthy: OnUnhealthy | None = None
    with_image: bool = False


def faults(points: int, calls: int) -> st.SearchStrategy[Fault]:
    """None in half of all cases, or a fault that hits something which passes so many points and writing calls."""
    kills = st.builds(Kill, at=st.integers(1, points), again=st.none() | st.integers(1, points))
    return st.one_of(st.none(), kills, st.none(), st.builds(Full, at=st.integers(1, calls)))


POINTS, CALLS = 90, 150
"""So many points a restore passes, and so many calls that a full disk may refuse."""
KILLS: Final = st.builds(Kill, at=st.integers(1, POINTS), again=st.none() | st.integers(1, POINTS))
PICKS: Final = st.integers(0, 30)
WISHES: Final = st.builds(
    Wish,
    pick=PICKS,
    part=st.sampled_from(["all", "all", "/data", "/media"]),
    on_unhealthy=st.sampled_from([None, *OnUnhealthy]),
    with_image=st.booleans(),
)
NAMES: Final = st.sampled_from(sorted(VOLUMES))


class Machine(StatefulBench):
    """Work on two workloads that share a volume."""

    # --- what people do ------------------------------------------------------------------------------------------

    @initialize(name=NAMES)
    def begin(self, name: str) -> None:
        """One of the two runs; of both there are snapshots of data on which they live, and of the other kind."""
        for each in VOLUMES:
            self.servers.volume(VOLUMES[each]["/data"]).mkdir(parents=True)
            (self.servers.volume(VOLUMES[each]["/data"]) / "good").write_text("yes")
            self.world = self.world.with_tree(each, "/data", frozenset({("good", "yes")}))
            self.apply(each, POLICIES[0])
            self.deploy(each, VERSIONS[0], None)
            self.write(each, "/media", "base", "never empty")
            for good in ("yes", None):
                self.write(each, "/data", "good", good)
                self.snapshot(each, Quiesce.PAUSE, None)
            self.write(each, "/data", "good", "yes")
        self.stop(name, None)

    def apply(self, name: str, policy: str) -> None:
        """A workload is made, or gets another restart policy from its next deployment on."""
        image = self.world.workloads.get(name, State()).image
        spec = _spec(name, image, policy)

        async def act(holdfast: Holdfast) -> None:
            await holdfast.api.workloads.apply(spec, actor=ACTOR)

        if name not in self.world.workloads:
            self.undo_stack[name] = []
        self.settle(self.servers.do(act), [Way(result="", world=self.world.change(name, policy=policy))])
        self.ids[name] = self.servers.workload(name).id

    @rule(name=NAMES, image=st.sampled_from([*VERSIONS, *VERSIONS, CRASHING]), fault=faults(30, 10))
    def deploy(self, name: str, image: str, fault: Fault) -> None:
        """A version is deployed."""
        if name not in self.world.workloads:
            return

        async def act(holdfast: Holdfast) -> Operation:
            return await holdfast.api.deployer.deploy(name, image=image, actor=ACTOR)

        done, before = self.disturbed(act, fault)
        ways = []
        for world in before:
            state = world.workloads[name]
            if is_instance(
                Instance(image=image, policy=state.policy), state.runs
            ):  # under ANY policy: it may be this one
                ways.append(Way(result="already_there", world=world.change(name, image=image, wanted=True)))
            if world.lives(name, image):
                ways.append(Way(result="deployed", world=world.deployed(name, image)))
            cut = [Way(result=None, world=each) for each in world.not_deployed(name, image)]
            if done.cut or not world.lives(name, image):
                ways += cut + ([Way(result="interrupted", world=world.deployed(name, image))] if done.cut else [])
        self.settle(done, ways)

    def stop(self, name: str, fault: Fault) -> None:
        """A workload is stopped."""
        if name not in self.world.workloads:
            return

        async def act(holdfast: Holdfast) -> Operation:
            return await holdfast.api.deployer.stop(name, actor=ACTOR)

        done, before = self.disturbed(act, fault)
        ways = [Way(result="succeeded", world=w.change(name, wanted=False, runs=None, unsure=False)) for w in before]
        if done.cut:
            ways += [Way(result=None, world=world) for world in before]
            ways += [Way(result=None, world=w.change(name, wanted=False, unsure=True)) for w in before]
        self.settle(done, ways)

    @rule(name=NAMES, quiesce=st.sampled_from([Quiesce.STOP, Quiesce.PAUSE]), fault=faults(30, 60))
    def snapshot(self, name: str, quiesce: Quiesce, fault: Fault) -> None:
        """A snapshot is taken."""
        if name not in self.world.workloads:
            return

        async def act(holdfast: Holdfast) -> Operation:
            return await holdfast.api.snapshots.create(name, quiesce=quiesce, note="", actor=ACTOR)

        done, before = self.disturbed(act, fault)
        made = self.world.captured(name, self.ids[name], VOLUMES[name])
        again = [world.called_off() for world in before] if quiesce is Quiesce.STOP or done.cut else before
        result = None if done.cut or self.unsure else "succeeded"
        self.settle(
            done, [Way(result=result, world=world) for world in again], made=made, must=done.result == "succeeded"
        )

    @rule(wish=WISHES, fault=faults(POINTS, CALLS))
    def restore(self, wish: Wish, fault: Fault) -> None:
        """A snapshot is restored, or one of its volumes."""
        if (id_ := self.chosen(wish.pick)) is None:
            return
        kept = self.kept[id_]
        name, targets = self.owners[kept.owner], [wish.part] if wish.part in kept.trees else sorted(kept.trees)
        with_image = wish.with_image and bool(kept.image)

        async def act(holdfast: Holdfast) -> Operation:
            return await holdfast.api.restores.restore(
                name,
                id_,
                confirm=id_,
                volumes=tuple(targets),
                on_unhealthy=wish.on_unhealthy,
                with_image=with_image,
                dry_run=False,
                actor=ACTOR,
            )

        self._restored(act, name, id_, targets, wish.on_unhealthy, fault, with_image=with_image)

    @rule(wish=WISHES, fault=KILLS)
    def restore_and_kill(self, wish: Wish, fault: Fault) -> None:
        """The same, killed in the middle."""
        self.restore(wish, fault)

    @rule(wish=WISHES, fault=st.builds(Full, at=st.integers(1, CALLS)))
    def restore_on_full_disk(self, wish: Wish, fault: Fault) -> None:
        """The same, while the disk is full for a moment."""
        self.restore(wish, fault)

    @rule(name=NAMES, fault=faults(POINTS, CALLS))
    def undo(self, name: str, fault: Fault) -> None:
        """The last restore is taken back."""
        if name not in self.world.workloads:
            return

        async def act(holdfast: Holdfast) -> Operation:
            target = await holdfast.api.restores.undo_target(name)
            confirm = target.id if target else None
            return await holdfast.api.restores.undo(name, confirm=confirm, dry_run=False, actor=ACTOR)

        newest, with_image = self.undo_stack[name][-1] if self.undo_stack[name] else ("", False)
        if newest not in self.kept:
            done = self.servers.do(act)
            assert done.refused == "nothing_to_undo"
            return
        self._restored(act, name, newest, sorted(self.kept[newest].trees), None, fault, with_image=with_image)

    def _restored(
        self,
        act: Act,
        name: str,
        id_: str,
        targets: list[str],
        on_unhealthy: OnUnhealthy | None,
        fault: Fault,
        *,
        with_image: bool,
    ) -> None:
        kept, old = self.kept[id_], self.world
        keep = None if on_unhealthy is None else on_unhealthy is OnUnhealthy.KEEP
        image = kept.image if with_image and kept.image else None
        done, before = self.disturbed(act, fault)
        old = before[0] if isinstance(fault, Kill) else old
        ways = []
        for world in before:
            trees = {target: kept.trees[target] for target in targets}
            result, after = world.restored(name, trees, keep=keep, image=image)
            ways.append(Way(result=result, world=after))
            if done.cut:
                if done.result in UNDOABLE:
                    ways.append(Way(result=done.result, world=after))
                else:
                    ways.append(Way(result=None, world=world.called_off()))
        made = old.captured(name, self.ids[name], targets, pinned=True)
        self.settle(done, ways, made=made, must=done.result in {*RestoreResult})
        if done.result in UNDOABLE and done.operation is not None:
            outcome = done.operation.outcome
            self.undo_stack[name].append((str(outcome["safety_snapshot_id"]), bool(outcome["with_image"])))

    @rule(pick=PICKS, release=st.booleans())
    def delete_snapshot(self, pick: int, release: bool) -> None:
        """A snapshot is deleted, after it was released or not."""
        if (id_ := self.chosen(pick)) is None:
            return
        kept = self.kept[id_]
        name = self.owners[kept.owner]

        async def act(holdfast: Holdfast) -> None:
            if release:
                await holdfast.api.snapshots.set_pinned(name, id_, False, actor=ACTOR)
            await holdfast.api.snapshots.delete(name, id_, actor=ACTOR)

        done = self.servers.do(act)
        stays = kept.pinned and not release
        assert done.refused == ("snapshot_pinned" if stays else "")
        if not stays:
            del self.kept[id_]
        self.settle(done, [Way(result=None, world=self.world)])

    def prune(self, fault: Fault) -> None:
        """What nobody wants any more is deleted, and its room freed."""

        async def act(holdfast: Holdfast) -> Operation:
            return await holdfast.api.care.prune(None, dry_run=False, actor=ACTOR)

        done, before = self.disturbed(act, fault)
        # Of a workload that was deleted nothing is judged any more: its snapshots stay.
        own = sorted((id_ for id_, k in self.kept.items() if self.owners.get(k.owner) == "shelf"), reverse=True)
        doomed = {id_ for id_ in own[KEPT_OF_SHELF:] if not self.kept[id_].pinned}
        result = None if done.cut else "succeeded"
        self.settle(done, [Way(result=result, world=w) for w in before], gone=doomed, all_gone=not done.cut)

    def verify(self) -> None:
        """All is read back, and all is whole."""

        async def act(holdfast: Holdfast) -> Operation:
            return await holdfast.api.care.verify(percent=100, actor=ACTOR)

        self.settle(self.servers.do(act), [Way(result="succeeded", world=self.world)])

    def delete_workload(self, name: str, fault: Fault) -> None:
        """A workload is deleted; its data and its snapshots stay."""
        if name not in self.world.workloads:
            return

        async def act(holdfast: Holdfast) -> Operation:
            return await holdfast.api.workloads.delete(name, delete_data=False, actor=ACTOR)

        done, before = self.disturbed(act, fault)
        ways = [Way(result="succeeded", world=world.without(name)) for world in before]
        if done.cut:
            ways += [Way(result=None, world=world) for world in before]
            ways += [Way(result=None, world=w.change(name, wanted=False, unsure=True)) for w in before]
            ways += [Way(result=None, world=world.without(name)) for world in before]
        self.settle(done, ways)

    @rule(what=st.sampled_from(["prune", "prune", "verify", "without engine"]), name=NAMES, fault=faults(10, 6))
    def look_after(self, what: str, name: str, fault: Fault) -> None:
        """What is done now and then."""
        match what:
            case "prune":
                self.prune(fault)
            case "verify":
                self.verify()
            case _:
                self.deploy_without_engine(name, VERSIONS[1])

    @rule(what=st.sampled_from([*POLICIES, "stop", "stop", "delete"]), name=NAMES, fault=faults(10, 2))
    def configure(self, what: str, name: str, fault: Fault) -> None:
        """A workload gets another policy, or is made; or is stopped or deleted."""
        match what:
            case "stop":
                self.stop(name, fault)
            case "delete":
                self.delete_workload(name, fault)
            case _:
                self.apply(name, what)

    # --- what happens to them ------------------------------------------------------------------------------------

    @rule(
        name=NAMES,
        volume=st.sampled_from(["/data", "/media"]),
        file=st.sampled_from(["good", "a", "b"]),
        text=st.none() | st.sampled_from(["x", "y"]),
    )
    def write(self, name: str, volume: str, file: str, text: str | None) -> None:
        """A workload that runs writes a file, or removes one."""
        state = self.world.workloads.get(name)
        if state is None or state.runs is None or state.unsure:
            return
        path = self.servers.volume(VOLUMES[name][volume]) / file
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        self.world = self.world.with_tree(name, volume, written(self.world.tree(name, volume), file, text))

    @rule(name=NAMES, remove=st.booleans())
    def by_hand(self, name: str, remove: bool) -> None:
        """Somebody removes or stops a container behind Holdfast's back."""
        state = self.world.workloads.get(name)
        if state is None or state.unsure:
            return
        self.servers.by_hand(name, remove=remove)
        self.world = self.world.change(name, runs=None, there=state.there and not remove)

    @rule(outage=st.none() | st.sampled_from(list(Outage)))
    def restart(self, outage: Outage | None) -> None:
        """The server is restarted in order, and the engine may have been away meanwhile."""
        self.servers.restart(outage)
        worlds = self.world.resolved() if outage else [self.world]
        if outage is not None:
            worlds = [world.engine_restarted(crash=outage is Outage.CRASH) for world in worlds]
        self.settle(Done(operation=None, restarted=True), [Way(result=None, world=world) for world in worlds])

    def deploy_without_engine(self, name: str, image: str) -> None:
        """Without an engine nothing can be deployed, and nothing is touched."""
        if name not in self.world.workloads:
            return

        async def act(holdfast: Holdfast) -> Operation:
            return await holdfast.api.deployer.deploy(name, image=image, actor=ACTOR)

        done = self.servers.do_without_engine(act)
        self.settle(done, [Way(result="engine_unavailable", world=self.world)])


def _spec(name: str, image: str, policy: str) -> WorkloadSpec:
    keep = Keep(last=KEPT_OF_SHELF) if name == "shelf" else None
    return replace(
        spec_of(name, image=image),
        restart=RestartPolicy(policy),
        snapshots=SnapshotPolicy(keep=keep, before_deploy=False),
    )
