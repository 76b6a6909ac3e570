from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.errors import InvalidInput
from holdfast.domain.image_ref import ImageRef, parse_image_ref

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "registry", "path", "tag", "digest", "canonical"),
    [
        ("nginx", None, "nginx", None, None, "docker.io/library/nginx:latest"),
        ("nginx:1.27", None, "nginx", "1.27", None, "docker.io/library/nginx:1.27"),
        ("org/app", None, "org/app", None, None, "docker.io/org/app:latest"),
        ("docker.io/nginx", "docker.io", "nginx", None, None, "docker.io/library/nginx:latest"),
        ("index.docker.io/nginx", "index.docker.io", "nginx", None, None, "docker.io/library/nginx:latest"),
        ("registry.example/notes:1.4", "registry.example", "notes", "1.4", None, "registry.example/notes:1.4"),
        ("localhost/a", "localhost", "a", None, None, "localhost/a:latest"),
        ("localhost:5000/a/b", "localhost:5000", "a/b", None, None, "localhost:5000/a/b:latest"),
        ("host:5000/a:t", "host:5000", "a", "t", None, "host:5000/a:t"),
        ("[::1]:5000/a", "[::1]:5000", "a", None, None, "[::1]:5000/a:latest"),
        ("HOST/a", "HOST", "a", None, None, "HOST/a:latest"),
        (f"nginx@{DIGEST}", None, "nginx", None, DIGEST, f"docker.io/library/nginx@{DIGEST}"),
        (f"r.example/a:1@{DIGEST}", "r.example", "a", "1", DIGEST, f"r.example/a:1@{DIGEST}"),
        ("f/a__b.c--d_e", None, "f/a__b.c--d_e", None, None, "docker.io/f/a__b.c--d_e:latest"),
    ],
)
def test_references_are_read_as_the_distribution_grammar_says(
    text: str, registry: str | None, path: str, tag: str | None, digest: str | None, canonical: str
) -> None:
    reference = parse_image_ref(text)
    assert reference == ImageRef(registry=registry, path=path, tag=tag, digest=digest)
    assert str(reference) == text
    assert reference.canonical == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        " nginx",
        "Nginx",
        "a//b",
        "a/",
        "/a",
        "a:",
        "a:b:c",
        "a:.tag",
        "a:" + "t" * 129,
        "a@sha256:abc",
        "a@" + DIGEST.upper(),
        "a@sha256:" + "0A" * 32,
        "a@",
        f"a@{DIGEST}@{DIGEST}",
        "a___b",
        "a..b",
        "-a",
        "host_name:5000/a",
        "host:port/a",
        "a\nb",
        "ä",
        "x" * 256,
        "r.example/" + "a/" * 600 + "a",
        "https://registry.example/notes",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_image_ref(text)
    assert caught.value.code == "image_reference_malformed"
    assert caught.value.next_step


@pytest.mark.parametrize("text", ["0a" * 32, DIGEST])
def test_an_image_id_is_refused_as_such(text: str) -> None:
    with pytest.raises(InvalidInput, match="id of an image"):
        parse_image_ref(text)


def test_an_upper_case_name_gets_a_hint() -> None:
    with pytest.raises(InvalidInput, match="lower case"):
        parse_image_ref("org/App")


@pytest.mark.parametrize(
    ("text", "asked"),
    [("nginx", "nginx:latest"), ("nginx:1", "nginx:1"), (f"nginx@{DIGEST}", f"nginx@{DIGEST}")],
)
def test_latest_is_spelled_out_only_where_nothing_else_was_said(text: str, asked: str) -> None:
    assert parse_image_ref(text).with_tag == asked


NAMES = st.from_regex(r"[a-z0-9]{1,8}(?:[_-][a-z0-9]{1,8})?", fullmatch=True).filter(lambda name: name != "localhost")


@given(
    st.none() | st.sampled_from(["registry.example", "localhost:5000", "[fe80::1]:443"]),
    st.lists(NAMES, min_size=1, max_size=4),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    st.none() | st.just(DIGEST),
)
def test_reading_what_was_written_gives_the_same_text(
    registry: str | None, names: list[str], tag: str | None, digest: str | None
) -> None:
    text = f"{f'{registry}/' if registry else ''}{'/'.join(names)}{f':{tag}' if tag else ''}"
    text += f"@{digest}" if digest else ""
    reference = parse_image_ref(text)
    assert str(reference) == text
    assert parse_image_ref(reference.canonical).canonical == reference.canonical
