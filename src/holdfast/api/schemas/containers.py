"""Foreign containers on the wire, and the proposals that come of them.

Each proposal is checked as ``apply`` checks it; what that refuses is a finding of the kind ``problem``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field

from holdfast.api.parameters import PrintableText
from holdfast.api.schemas.compose import FindingView, finding_view, taken_name, told_problem
from holdfast.api.schemas.workload import parse_workload_json
from holdfast.api.schemas.workload_values import Name
from holdfast.domain.compose_findings import Finding, FindingKind
from holdfast.domain.container_import import MAX_CONTAINERS, ContainersProposal, ProposedContainer
from holdfast.domain.errors import InvalidInput, Problem, TooLarge
from holdfast.domain.told import Told
from holdfast.domain.workload import WorkloadSpec
from holdfast.services.take_over_checks import TakeOverWish

ContainerName = Annotated[PrintableText, Field(pattern="^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$")]


class ContainersBody(BaseModel, extra="forbid"):
    """Containers of this host that are not Holdfast's."""

    containers: Annotated[
        list[ContainerName], Field(min_length=1, max_length=MAX_CONTAINERS, description="Their names or ids.")
    ]
    project: Annotated[
        Name | None, Field(description="The project of all of them; null: Compose's, or each its own.")
    ] = None


class TakeOverBody(ContainersBody):
    """Containers that workloads are to take the place of, as their import proposes it."""

    accept_left_out: Annotated[
        bool, Field(description="Whether what can't be carried over (`left_out` in the proposal) is given up.")
    ] = False
    keep: Annotated[
        bool, Field(description="Leave the old containers there, stopped and renamed, instead of removing them.")
    ] = False


class ProposedContainerView(BaseModel):
    container: Annotated[str, Field(description="Its name.")]
    container_id: str
    name: Annotated[str, Field(description="The name of the workload.")]
    valid: Annotated[bool, Field(description="Whether the declaration can be applied as it is.")]
    declaration: Annotated[
        dict[str, Any], Field(description="The proposed declaration. No value of a secret is in its `env`.")
    ]
    yaml: Annotated[str, Field(description="The same as a file, with the findings as comments.")]
    findings: list[FindingView]


class ContainersView(BaseModel):
    workloads: Annotated[
        list[ProposedContainerView], Field(description="Each after those that it depends on, as Compose noted it.")
    ]
    findings: Annotated[list[FindingView], Field(description="What belongs to no single container.")]


def parsed(proposed: ProposedContainer) -> tuple[WorkloadSpec | None, list[Finding]]:
    """The configuration that a proposal declares, or why the parser refuses it."""
    try:
        return parse_workload_json(proposed.workload.document), []
    except TooLarge as error:
        return None, [_problem("", Told.of(error))]
    except InvalidInput as error:
        listed = error.details["problems"]
        assert isinstance(listed, list)
        return None, [_problem(each["path"], told_problem(each)) for each in listed]


def wish_of(proposed: ProposedContainer) -> TakeOverWish:
    """A proposal as it is to be carried out.

    Raises:
        InvalidInput: the declaration's parser refuses it.
        TooLarge: it exceeds a bound of the parser.
    """
    return TakeOverWish(proposed=proposed, spec=parse_workload_json(proposed.workload.document))


def containers_view(
    proposal: ContainersProposal, refused: Mapping[str, list[Finding]], taken: Mapping[str, str]
) -> ContainersView:
    """The answer.

    Args:
        refused: by the proposed names, what ``apply`` would refuse.
        taken: the proposed names that workloads have already, with their projects.
    """
    return ContainersView(
        workloads=[_view(each, refused[each.workload.name], taken) for each in proposal.containers],
        findings=[finding_view(finding) for finding in proposal.findings],
    )


def refusal_findings(problems: Iterable[Problem]) -> list[Finding]:
    """What the services refuse, as findings."""
    return [_problem("", Told.of(problem)) for problem in problems]


def _view(each: ProposedContainer, problems: list[Finding], taken: Mapping[str, str]) -> ProposedContainerView:
    from holdfast.api.schemas.compose_yaml import rendered  # by the first import: a writer of YAML

    workload = each.workload
    project = str(workload.document.get("project", workload.name))
    findings = [*taken_name(workload.name, project, taken), *problems, *workload.findings]
    return ProposedContainerView(
        container=each.container.name,
        container_id=each.container.id,
        name=workload.name,
        valid=not problems,
        declaration=workload.document,
        yaml=rendered(workload.document, findings, f"the container {each.container.name}"),
        findings=[finding_view(finding) for finding in findings],
    )


def _problem(path: str, problem: Told) -> Finding:
    return Finding(kind=FindingKind.PROBLEM, path=path, told=problem)
