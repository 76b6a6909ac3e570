"""A compose file on the wire, and the proposals that come of it.

Each proposal is checked by the parser that ``apply`` uses; what that refuses is a finding of the kind ``problem``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, SecretStr

from holdfast.api.schemas.told import Code, Values
from holdfast.api.schemas.workload import parse_workload_json
from holdfast.domain.compose import ComposeProposal, ProposedWorkload
from holdfast.domain.compose_findings import Finding, FindingKind
from holdfast.domain.environment import MAX_VALUE_CHARACTERS, MAX_VARIABLES
from holdfast.domain.errors import InvalidInput, TooLarge
from holdfast.domain.told import Told, told
from holdfast.services.env_file import MAX_FILE_CHARACTERS

MAX_TEXT: Final = 1 << 20
"""Characters of the file; how many bytes of YAML are read is a smaller number, with an error of its own."""
MAX_ENV_FILES: Final = 50
_MAX_PATH: Final = 4096
_Path = Annotated[str, Field(max_length=_MAX_PATH)]


class ComposeBody(BaseModel, extra="forbid"):
    """A compose file, and what belongs to it on the machine that it is on. The server reads no file itself."""

    text: Annotated[
        SecretStr, Field(max_length=MAX_TEXT, description="The file.", json_schema_extra={"writeOnly": True})
    ]
    folder: Annotated[
        str, Field(max_length=255, description="The name of its directory: the project's, where the file has none.")
    ] = ""
    directory: Annotated[
        str,
        Field(
            max_length=_MAX_PATH,
            description="The absolute path of its directory, by which relative paths of the host are followed.",
        ),
    ] = ""
    variables: Annotated[
        dict[str, Annotated[SecretStr, Field(max_length=MAX_VALUE_CHARACTERS)]],
        Field(
            max_length=MAX_VARIABLES,
            description="What `${NAME}` stands for. The server's own environment is never asked.",
            json_schema_extra={"writeOnly": True},
        ),
    ] = {}
    env_files: Annotated[
        dict[_Path, Annotated[SecretStr, Field(max_length=MAX_FILE_CHARACTERS)]],
        Field(
            max_length=MAX_ENV_FILES,
            description="The texts of the files that `env_file` names, by the `path` that the answer has for them.",
            json_schema_extra={"writeOnly": True},
        ),
    ] = {}


class FindingView(BaseModel):
    kind: Annotated[
        FindingKind,
        Field(
            description="`left_out`: it is not in the proposal. `note`: it is, and not quite the same. `problem`: "
            "`apply` refuses the proposal because of it."
        ),
    ]
    path: Annotated[str, Field(description="Its place in the compose file; of a problem, in the declaration.")]
    message: Annotated[str, Field(description="In English.")]
    next_step: str
    code: Code
    values: Values


class ProposedWorkloadView(BaseModel):
    service: Annotated[str, Field(description="Its name in the compose file.")]
    name: str
    valid: Annotated[bool, Field(description="Whether the declaration can be applied as it is.")]
    declaration: Annotated[
        dict[str, Any], Field(description="The proposed declaration. No value of a secret is in its `env`.")
    ]
    yaml: Annotated[str, Field(description="The same as a file, with the findings as comments.")]
    findings: list[FindingView]


class EnvFileView(BaseModel):
    written: Annotated[str, Field(description="The path as it stands in the compose file.")]
    path: Annotated[str, Field(description="The same with its variables filled in.")]
    required: bool
    sent: Annotated[bool, Field(description="Whether its text came with the request.")]


class ComposeView(BaseModel):
    project: str
    workloads: list[ProposedWorkloadView]
    findings: Annotated[list[FindingView], Field(description="What belongs to no single service.")]
    env_files: Annotated[list[EnvFileView], Field(description="The files that `env_file` names.")]


def view(proposal: ComposeProposal, taken: Mapping[str, str], sent: Sequence[str]) -> ComposeView:
    """The answer.

    Args:
        taken: the proposed names that workloads have already, with their projects.
        sent: the paths of the env files that came.
    """
    return ComposeView(
        project=proposal.project,
        workloads=[_workload(workload, proposal.project, taken) for workload in proposal.workloads],
        findings=[finding_view(finding) for finding in proposal.findings],
        env_files=[
            EnvFileView(written=file.written, path=file.path, required=file.required, sent=file.path in sent)
            for file in proposal.env_files
        ],
    )


def _workload(workload: ProposedWorkload, project: str, taken: Mapping[str, str]) -> ProposedWorkloadView:
    from holdfast.api.schemas.compose_yaml import rendered  # by the first import: a writer of YAML

    problems = _problems(workload.document)
    findings = [*taken_name(workload.name, project, taken), *problems, *workload.findings]
    return ProposedWorkloadView(
        service=workload.service,
        name=workload.name,
        valid=not problems,
        declaration=workload.document,
        yaml=rendered(workload.document, findings),
        findings=[finding_view(finding) for finding in findings],
    )


def _problems(document: Mapping[str, object]) -> list[Finding]:
    """What `apply` would refuse."""
    try:
        parse_workload_json(document)
    except TooLarge as error:
        return [Finding(kind=FindingKind.PROBLEM, path="", told=Told.of(error))]
    except InvalidInput as error:
        listed = error.details["problems"]
        assert isinstance(listed, list)
        return [Finding(kind=FindingKind.PROBLEM, path=each["path"], told=told_problem(each)) for each in listed]
    return []


def told_problem(problem: Mapping[str, str]) -> Told:
    """One of the problems that a malformed declaration has."""
    return Told(problem["message"], code=problem["code"], next_step=problem["next_step"])


def taken_name(name: str, project: str, taken: Mapping[str, str]) -> list[Finding]:
    """What there is to say of a name that a workload has already."""
    if name not in taken:
        return []
    whose = told("this_project", "this project")
    if taken[name] != project:
        whose = told("other_project", "the project {project}", project=taken[name])
    return [
        Finding(
            kind=FindingKind.NOTE,
            path="name",
            told=told(
                "import_name_taken",
                "There is a workload {name} already, of {whose}; applying this changes that one.",
                "Give this one another name if it is not meant, and use it where others reach the service.",
                name=name,
                whose=whose,
            ),
        )
    ]


def finding_view(finding: Finding) -> FindingView:
    """A finding on the wire."""
    return FindingView(
        kind=finding.kind,
        path=finding.path,
        message=finding.message,
        next_step=finding.next_step,
        code=finding.told.code,
        values=finding.told.values,
    )
