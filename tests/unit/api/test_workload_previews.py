"""What a declaration may say about previews."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.api.schemas.workload import parse_workload_json, to_document
from holdfast.domain.changes import changes
from holdfast.domain.errors import InvalidInput
from holdfast.domain.workload import Domain, PreviewPolicy, PreviewSeed, WorkloadSpec


def parsed(previews: dict[str, Any], **fields: Any) -> WorkloadSpec:
    return parse_workload_json(
        {"name": "notes", "source": {"type": "image", "image": "notes:1"}, "previews": previews, **fields}
    )


def test_previews_are_read_and_written_as_they_were_declared() -> None:
    declared = {
        "domain": "{preview}.notes.example.org",
        "env": {"URL": "https://{domain}"},
        "seed": "latest",
        "expires": "2d",
        "max": 0,
        "last_snapshot": True,
    }
    spec = parsed(declared, ports=["127.0.0.1:8080:80"])
    assert spec.previews == PreviewPolicy(
        domain=Domain(name="{preview}.notes.example.org", port=80),
        env=(("URL", "https://{domain}"),),
        seed=PreviewSeed.LATEST,
        expires=172800.0,
        most=0,
        last_snapshot=True,
    )
    assert parse_workload_json(to_document(spec)) == spec
    assert "previews" not in to_document(parsed({}))
    assert spec.config_hash == parsed({}, ports=["127.0.0.1:8080:80"]).config_hash, "no container is made anew for it"
    assert {change.path for change in changes(parsed({}), spec)} >= {"previews.env.URL", "previews.seed"}


@pytest.mark.parametrize(
    ("previews", "code"),
    [
        ({"domain": "notes.example.org"}, "preview_domain_malformed"),
        ({"domain": "{preview}.{preview}.example.org"}, "preview_domain_malformed"),
        ({"domain": f"{'x' * 40}.{{preview}}.example.org"}, "preview_domain_malformed"),
        ({"domain": f"{'x' * 30}-{{preview}}.example.org"}, "domain_malformed"),
        ({"domain": 7}, "preview_domain_malformed"),
        ({"domain": "{preview}.example.org"}, "domain_port_missing"),
        ({"expires": "59s"}, "value_out_of_range"),
        ({"max": -1}, "value_out_of_range"),
        ({"env": {"1": "x"}}, "env_name_malformed"),
        ({"env": {"A": "x" * 131072, "B": "x" * 131072}}, "value_too_large"),
        ({"seed": "newest"}, "value_unknown"),
        ({"seeds": "empty"}, "key_unknown"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(previews: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parsed(previews)
    problems = refused.value.details["problems"]
    assert isinstance(problems, list)
    [problem] = problems
    assert (problem["code"], problem["path"].partition(".")[0]) == (code, "previews")
