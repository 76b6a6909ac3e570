"""Import of compose files: env files read, proposals made, names that others have already told. Nothing is applied."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.domain.compose import ComposeFile, ComposeProposal, propose
from holdfast.domain.compose_findings import words
from holdfast.domain.errors import InvalidInput, TooLarge
from holdfast.services.env_file import read_env_file


def propose_workloads(
    content: object, *, folder: str, directory: str, variables: Mapping[str, str], env_files: Mapping[str, str]
) -> ComposeProposal:
    """Propose a workload for each service of a compose file.

    Args:
        content: the file's value.
        folder: name of its directory.
        directory: that directory's absolute path, which is text here and never looked at.
        variables: for interpolation.
        env_files: texts of the env files, by the paths in the compose file.

    Raises:
        InvalidInput: see :func:`holdfast.domain.compose.propose`; ``env_file_malformed``, naming the file.
        TooLarge: likewise; ``env_file_too_large``.
    """
    read: dict[str, Mapping[str, str]] = {}
    for path, text in env_files.items():
        try:
            read[path] = read_env_file(text)
        except (InvalidInput, TooLarge) as error:
            error.message = f"{words(path)}: {error.message}"
            raise
    return propose(
        ComposeFile(content=content, folder=folder, directory=directory, variables=variables, env_files=read)
    )
