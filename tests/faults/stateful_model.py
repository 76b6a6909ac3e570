"""What a few workloads, their data and their snapshots must be: a model without disk, engine, database or time.

A :class:`World` is everything that people can look at: what each volume holds, what each workload is configured to run,
was last deployed with, and runs. An operation makes one world of another. Where one was cut off in the middle, several
worlds are right, and looking tells which one it is; for the data that means exactly the old trees or the new ones.

The programs of the model write one file at each start, which says who they are: so the data tells what ran on it. They
don't start on data in which the file ``good`` is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Final

from holdfast.domain.restore import RestoreResult

Tree = frozenset[tuple[str, str]]
"""The files of a volume: name and text."""

VERSIONS: Final = ("app:1", "app:2")
CRASHING: Final = "app:bad"
"""An image that never becomes healthy, and writes nothing."""
POLICIES: Final = ("always", "unless-stopped")
ANY: Final = "any"
"""A policy of which nothing is known: whoever set it was cut off."""

VOLUMES: Final[Mapping[str, Mapping[str, str]]] = {
    "notes": {"/data": "notes/data", "/media": "@home/media"},
    "shelf": {"/data": "shelf/data", "/media": "@home/media"},
}
"""Workload → target → where it lies: each has a volume of its own, and both share one."""

UNDOABLE: Final = frozenset(
    {
        RestoreResult.RESTORED,
        RestoreResult.RESTORED_STOPPED,
        RestoreResult.RESTORED_UNHEALTHY,
        RestoreResult.RESTORED_DEPLOY_FAILED,
    }
)
"""Results of a restore after which its data is live."""


def written(tree: Tree, name: str, text: str | None) -> Tree:
    """A tree with a file in it; ``None``: without."""
    kept = frozenset(file for file in tree if file[0] != name)
    return kept if text is None else kept | {(name, text)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """What runs, or was deployed: an image under a restart policy."""

    image: str
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A snapshot as it must be.

    Attributes:
        owner: id of its workload.
        trees: what it holds, by target.
        image: what ran on that; empty if nothing ever did.
    """

    owner: str
    trees: Mapping[str, Tree]
    image: str
    pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One workload.

    Attributes:
        image, policy: as configured.
        wanted: whether it should run.
        deployed: what was last deployed successfully.
        runs: what runs; ``None``: nothing does.
        there: whether a stopped instance of what was deployed is left, so that none is made in its place.
        unsure: whether it runs, and what, was left open by something that was cut off, or by data it can't live on.
        loops: the image of a container that ends and is started again and again, since it can't live on its data;
            supposed for one step at a time, where it is open what runs.
    """

    image: str = VERSIONS[0]
    policy: str = POLICIES[0]
    wanted: bool = False
    deployed: Instance | None = None
    runs: Instance | None = None
    there: bool = False
    unsure: bool = False
    loops: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is there.

    Attributes:
        trees: where a volume lies → what it holds.
        workloads: those that exist, by name.
    """

    trees: Mapping[str, Tree] = field(default_factory=dict)
    workloads: Mapping[str, State] = field(default_factory=dict)

    def tree(self, name: str, target: str) -> Tree:
        """What a volume of a workload holds."""
        return self.trees.get(VOLUMES[name][target], frozenset())

    def with_tree(self, name: str, target: str, tree: Tree) -> World:
        """The same with another tree in a volume."""
        return replace(self, trees={**self.trees, VOLUMES[name][target]: tree})

    def change(self, name: str, **fields: object) -> World:
        """The same with another state of a workload."""
        state = replace(self.workloads.get(name, State()), **fields)  # type: ignore[arg-type] # checked by dataclass
        return replace(self, workloads={**self.workloads, name: state})

    def without(self, name: str) -> World:
        """The same without a workload; its data stays."""
        return replace(self, workloads={n: state for n, state in self.workloads.items() if n != name})

    def lives(self, name: str, image: str) -> bool:
        """Whether an image becomes healthy on a workload's data as it is."""
        return image != CRASHING and "good" in dict(self.tree(name, "/data"))

    def started(self, name: str, instance: Instance) -> World:
        """What comes of a start: it writes who it is, unless it can't live on its data."""
        if not self.lives(name, instance.image):
            return self.change(name, runs=None, there=True, unsure=True)
        world = self.with_tree(name, "/data", written(self.tree(name, "/data"), "version", instance.image))
        return world.change(name, runs=instance, there=True, unsure=False)

    def captured(self, name: str, owner: str, targets: Iterable[str], *, pinned: bool = False) -> Kept:
        """A snapshot of these volumes."""
        state = self.workloads[name]
        ran = state.runs or state.deployed
        trees = {target: self.tree(name, target) for target in targets}
        return Kept(owner=owner, trees=trees, image=ran.image if ran else "", pinned=pinned)

    def resolved(self) -> list[World]:
        """The worlds that this may be: where it is open what runs of a workload, each version of it, or none.

        What can't live on its data may be started again and again; whether it is stays open until it is stopped.
        """
        choices: list[list[tuple[str, State]]] = []
        for name, state in self.workloads.items():
            sure = replace(state, runs=None, unsure=False)
            open_ones = [replace(sure, runs=Instance(image=i, policy=ANY), there=True) for i in VERSIONS]
            dead = [image for image in VERSIONS if not self.lives(name, image)]
            open_ones += [replace(sure, there=True, unsure=True, loops=image) for image in dead]
            open_ones += [replace(sure, there=True, unsure=bool(dead)), replace(sure, there=False)]
            choices.append([(name, each) for each in (open_ones if state.unsure else [state])])
        return [replace(self, workloads=dict(chosen)) for chosen in product(*choices)]

    def supposing_nothing(self) -> World:
        """The same without what was only supposed of what runs: the next step supposes anew."""
        return replace(self, workloads={name: replace(state, loops="") for name, state in self.workloads.items()})

    # --- what operations make of it ------------------------------------------------------------------------------

    def deployed(self, name: str, image: str) -> World:
        """After a deployment that succeeded."""
        instance = Instance(image=image, policy=self.workloads[name].policy)
        return self.change(name, image=image, wanted=True, deployed=instance).started(name, instance)

    def not_deployed(self, name: str, image: str) -> list[World]:
        """After one that failed or was cut off: what was deployed before comes back if it should run."""
        state = self.workloads[name]
        tried = self.started(name, Instance(image=image, policy=state.policy))
        touched = [replace(self, trees=trees) for trees in (self.trees, tried.trees)]
        if state.runs is not None:
            return [world.started(name, state.runs) for world in touched]
        if state.wanted and state.deployed is not None and state.there:
            touched += [world.started(name, state.deployed) for world in touched]
        return touched

    def restored(
        self, name: str, trees: Mapping[str, Tree], *, keep: bool | None, image: str | None
    ) -> tuple[RestoreResult, World]:
        """How a restore that nothing disturbs ends, and after it.

        Args:
            keep: keep the data on which a workload is unhealthy; ``None``: as is safe where it is found, and what
                was no better before takes nothing back.
            image: the image to go back to as well.
        """
        goes_on = {
            each: state.runs.image if state.runs else state.loops
            for each, state in self.workloads.items()
            if state.runs or state.loops
        }  # both share a volume, so that both are stopped, and what ran runs again
        own = self.workloads[name]
        excused: set[str] = set()
        if keep is None:
            keep = own.runs is None and (own.wanted or bool(own.loops))
            excused = {each for each, state in self.workloads.items() if state.loops and each != name}
        if name not in goes_on and own.wanted and own.deployed is not None:
            goes_on[name] = own.deployed.image
        if image is not None and name in goes_on:
            goes_on[name] = image
        world = self
        for target, tree in trees.items():
            world = world.with_tree(name, target, tree)
        if not goes_on:
            return RestoreResult.RESTORED_STOPPED, world
        if bad := {each for each, image in goes_on.items() if not world.lives(each, image)}:
            if not keep and bad - excused:
                back = self.called_off()
                sick = any(
                    state.loops or (state.runs and not self.lives(n, state.runs.image))
                    for n, state in self.workloads.items()
                )
                return (RestoreResult.REVERTED_UNHEALTHY if sick else RestoreResult.REVERTED), back
            return RestoreResult.RESTORED_UNHEALTHY, world.running_again(goes_on)
        return RestoreResult.RESTORED, world.running_again(goes_on)

    def running_again(self, goes_on: Mapping[str, str]) -> World:
        """With new instances of these images, by the configuration of now."""
        world = self
        for name, image in goes_on.items():
            instance = Instance(image=image, policy=self.workloads[name].policy)
            world = world.started(name, instance)
            if not world.workloads[name].unsure:
                world = world.change(name, deployed=instance)
        return world

    def called_off(self) -> World:
        """After a restore that was called off or taken back: what ran runs again, on the data from before."""
        world = self
        for name, state in self.workloads.items():
            if state.runs is not None:
                world = world.started(name, state.runs)
        return world

    def reconciled(self) -> World:
        """After Holdfast compared what is there with what was deployed: what is gone is made again."""
        world = self
        for name, state in self.workloads.items():
            if state.wanted and state.deployed is not None and not state.there and state.runs is None:
                world = world.started(name, state.deployed)
        return world

    def engine_restarted(self, *, crash: bool) -> World:
        """After the engine came back: restart policies decide what runs."""
        world = self
        for name, state in self.workloads.items():
            policy = state.runs.policy if state.runs else state.deployed.policy if state.deployed else ""
            comes = state.runs is not None or (state.wanted and state.there and policy == "always")
            if state.runs is not None and policy == "unless-stopped" and crash:
                world = world.change(name, runs=None, there=True)
            elif comes and not state.unsure and (state.runs or state.deployed) is not None:
                instance = state.runs or state.deployed
                assert instance is not None
                world = world.started(name, instance)
        return world
