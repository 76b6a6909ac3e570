"""A compose file as proposals: the declaration of one workload for each of its services.

The file is data here, read by the caller; nothing is looked up on this machine, and nothing is applied. Invariants:

- Every key is carried over, or named with its place, a reason and a next step. Only ``x-…`` and the obsolete
  ``version`` go without a word, as Compose lets them.
- The value of a variable that looks like a secret is in no finding, and in no ``env``.

The file's form is that of the Compose Specification (https://github.com/compose-spec/compose-spec).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from holdfast.domain import compose_keys as keys
from holdfast.domain.compose_findings import Finding, Findings, Path, path_words, words
from holdfast.domain.compose_service import Context, EnvFile, declaration, env_files
from holdfast.domain.compose_values import MAX_NAME, valid_name
from holdfast.domain.compose_variables import Variables
from holdfast.domain.compose_volumes import Surroundings, sources_used
from holdfast.domain.errors import InvalidInput, TooLarge
from holdfast.domain.ids import is_id
from holdfast.domain.told import told
from holdfast.domain.workload import Scope

MAX_SERVICES: Final = 100
_KNOWN: Final = frozenset({"name", "version", "services", "volumes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeFile:
    """What is sent for an import.

    Attributes:
        content: the file's value, with anchors and merge keys followed.
        folder: name of the directory it is in, from which the project's name comes where the file has none.
        directory: absolute path of that directory; empty where relative paths can't be followed.
        variables: for interpolation.
        env_files: the variables of each env file that was sent, by the path in the compose file.
    """

    content: object
    folder: str = ""
    directory: str = ""
    variables: Mapping[str, str]
    env_files: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedWorkload:
    """A service as a workload: its declaration, and what there is to say about it."""

    service: str
    name: str
    document: dict[str, object]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeProposal:
    """What a compose file comes to.

    Attributes:
        findings: what belongs to no single service.
        env_files: the files that its services name, whether they were sent or not.
    """

    project: str
    workloads: tuple[ProposedWorkload, ...]
    findings: tuple[Finding, ...]
    env_files: tuple[EnvFile, ...]


def propose(file: ComposeFile) -> ComposeProposal:
    """Propose workloads.

    Raises:
        InvalidInput: ``compose_malformed``, ``compose_without_services``, ``compose_variable_malformed``,
            ``compose_variable_missing``.
        TooLarge: ``compose_too_large``, ``compose_too_many_services``.
    """
    variables = Variables(file.variables)
    filled = _Filled(variables)
    written = {key: value for key, value in _mapping(file.content, ()).items() if not keys.is_extension(key)}
    content = _mapping(filled.value(written, ()), ())
    services = {name: _mapping(service, ("services", name)) for name, service in _services(content).items()}
    findings = Findings()
    _tell_top_keys(content, findings)
    named = content.get("name")
    project = project_name(named if isinstance(named, str) and named else file.folder, findings, ("name",))
    around = Surroundings(
        declared=_declared(content, findings),
        shared=_shared(services),
        directory=file.directory,
        home=file.variables.get("HOME", ""),
        project=project,
    )
    context = Context(project=project, around=around, variables=variables, used=filled.used, env_files=file.env_files)
    names = workload_names(services)
    proposed = tuple(_proposed(service, names, services[service], context) for service in services)
    tell_shared_directories(proposed, findings)
    if variables.missing:
        findings.note(
            (),
            told(
                "import_variables_empty",
                "Variables that are nowhere set were taken as empty: {names}.",
                "Set them in the environment, or in the file .env beside the compose file, and import again.",
                names=sorted(variables.missing)[:20],
            ),
        )
    return ComposeProposal(
        project=project,
        workloads=proposed,
        findings=findings.found,
        env_files=_env_files(written, services),
    )


def tell_shared_directories(proposed: Iterable[ProposedWorkload], findings: Findings) -> None:
    """Holdfast refuses two volumes of scope absolute of which one is, or holds, the other."""
    places = sorted(
        (str(volume["source"]).split("/"), workload.service)
        for workload in proposed
        for volume in _volumes(workload.document)
        if volume["scope"] == Scope.ABSOLUTE.value
    )
    for (outer, first), (inner, second) in pairwise(places):
        if inner[: len(outer)] == outer:
            findings.note(
                ("services", second, "volumes"),
                told(
                    "import_volumes_overlap",
                    "{path} is, or lies below, what {service} mounts; Holdfast keeps such volumes apart.",
                    "Share it as one volume of scope project: move the data, and name the same source in both.",
                    path=words("/".join(inner)),
                    service=words(first),
                ),
            )


def _volumes(document: Mapping[str, object]) -> Iterable[Mapping[str, object]]:
    volumes = document.get("volumes", [])
    assert isinstance(volumes, list)
    return volumes


class _Filled:
    """Fills variables into all values, and remembers where which were used."""

    def __init__(self, variables: Variables) -> None:
        self.used: dict[Path, frozenset[str]] = {}
        self._variables = variables

    def value(self, value: object, path: Path) -> object:
        if isinstance(value, str):
            _check_text(value, path)
            text, used = self._variables.filled(value, path_words(path))
            if used:
                self.used[path] = used
            return text
        if isinstance(value, Mapping):
            for key in value:
                _check_text(str(key), path)
                self._variables.spend(len(str(key)))
            return {str(key): self.value(item, (*path, str(key))) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, (*path, index)) for index, item in enumerate(value)]
        return value


def _check_text(text: str, path: Path) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(
            "compose_malformed",
            f"{path_words(path) or 'The file'} holds half of a surrogate pair, which is no character.",
            next_step="Remove it.",
        )


def _mapping(value: object, path: Path) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidInput(
            "compose_malformed",
            f"{path_words(path) or 'The file'} is not a mapping of keys to values.",
            next_step="Check that this is a compose file, and its indentation.",
            details={"path": path_words(path)},
        )
    return value


def _services(content: Mapping[str, object]) -> Mapping[str, object]:
    services = content.get("services")
    if services is None or services == {}:
        raise InvalidInput(
            "compose_without_services",
            "The file has no services, so that there is nothing to import.",
            next_step="Check that this is a compose file with services: in it; if it only includes others, import what "
            "`docker compose config` writes.",
        )
    found = _mapping(services, ("services",))
    if len(found) > MAX_SERVICES:
        raise TooLarge(
            "compose_too_many_services",
            f"The file has more than {MAX_SERVICES} services.",
            next_step="Split it into several files of one project.",
            details={"limit": MAX_SERVICES},
        )
    return found


def _tell_top_keys(content: Mapping[str, object], findings: Findings) -> None:
    for key, value in content.items():
        only_default = key == "networks" and (not value or value == {"default": None})
        if key not in _KNOWN and not only_default:
            findings.left_out((key,), keys.of(keys.TOP_KEYS, key))


def _declared(content: Mapping[str, object], findings: Findings) -> Mapping[str, object]:
    declared = content.get("volumes")
    if declared is None:
        return {}
    found = _mapping(declared, ("volumes",))
    for name, options in found.items():
        for key in options if isinstance(options, Mapping) else ():
            if key not in ("name", "external", "driver", "driver_opts") and not keys.is_extension(key):
                findings.left_out(
                    ("volumes", name, key),
                    told("import_volume_key", "A volume has no such key.", "Nothing has to be done."),
                )
    return found


def _shared(services: Mapping[str, Mapping[str, object]]) -> frozenset[str]:
    users: dict[str, int] = {}
    for service in services.values():
        for source in sources_used(service.get("volumes")):
            users[source] = users.get(source, 0) + 1
    return frozenset(source for source, count in users.items() if count > 1)


def project_name(wanted: str, findings: Findings, path: Path) -> str:
    """A project's name: ``wanted``, made valid."""
    project = valid_name(wanted, "compose")
    if is_id(project):
        project = f"project-{project}"
    if project != wanted:
        findings.note(
            path,
            told(
                "import_project_renamed",
                "The project is called {project} here, not {given}.",
                "Choose another name if you like.",
                project=project,
                given=words(wanted),
            ),
        )
    return project


def workload_names(services: Collection[str]) -> dict[str, str]:
    """A workload's name for each service: its own, made valid and kept apart from the others."""
    made: dict[str, str] = {}
    taken: set[str] = {service for service in services if valid_name(service, "") == service}
    for service in services:
        name = valid_name(service, "service")
        if is_id(name):
            name = f"workload-{name}"
        if name != service:
            number = 2
            base = name
            while name in taken:
                name = f"{base[: MAX_NAME - 4]}-{number}"
                number += 1
            taken.add(name)
        made[service] = name
    return made


def _proposed(
    service: str, names: Mapping[str, str], content: Mapping[str, object], context: Context
) -> ProposedWorkload:
    findings = Findings()
    path: Path = ("services", service)
    name = names[service]
    if name != service:
        findings.note(
            path,
            told(
                "import_workload_renamed",
                "The workload is called {name}: {given} can't be its name.",
                "Where others reach it as {given}, name {name} there.",
                name=name,
                given=words(service),
            ),
        )
    document = declaration(name, content, path, context, findings)
    return ProposedWorkload(service=service, name=name, document=document, findings=findings.found)


def _env_files(written: Mapping[str, object], services: Mapping[str, Mapping[str, object]]) -> tuple[EnvFile, ...]:
    """All of them, once each, as they are written and with their variables filled in."""
    before = _mapping(written["services"], ("services",))
    found: dict[str, EnvFile] = {}
    for name, service in services.items():
        raw = {place: file for file, place in env_files(_mapping(before[name], ("services", name)), (), Findings())}
        for file, place in env_files(service, (), Findings()):
            known = found.get(file.path)
            required = file.required or (known is not None and known.required)
            found[file.path] = EnvFile(written=raw[place].written, path=file.path, required=required)
    return tuple(found.values())
