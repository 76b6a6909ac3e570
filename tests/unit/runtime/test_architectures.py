"""Which images' programs a host runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.runtime.architectures import runs_here


@pytest.mark.parametrize(
    ("architecture", "machine"),
    [
        ("amd64", "x86_64"),
        ("386", "x86_64"),
        ("arm64", "aarch64"),
        ("arm", "aarch64"),
        ("arm", "armv7l"),
        ("", "x86_64"),
        ("of-tomorrow", "x86_64"),
        ("amd64", "of-tomorrow"),
    ],
)
def test_a_host_runs_its_own_and_what_nothing_is_known_of(architecture: str, machine: str, tmp_path: Path) -> None:
    assert runs_here(architecture, machine=machine, handlers=tmp_path)


@pytest.mark.parametrize(("architecture", "machine"), [("arm64", "x86_64"), ("amd64", "aarch64"), ("amd64", "armv7l")])
def test_another_processor_s_programs_run_only_where_they_are_emulated(
    architecture: str, machine: str, tmp_path: Path
) -> None:
    assert not runs_here(architecture, machine=machine, handlers=tmp_path)
    (tmp_path / {"arm64": "qemu-aarch64", "amd64": "qemu-x86_64"}[architecture]).touch()
    assert runs_here(architecture, machine=machine, handlers=tmp_path)
