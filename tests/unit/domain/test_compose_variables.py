"""Variables of compose files: the table of the Compose Specification, and what is no variable."""

from __future__ import annotations

import pytest

from holdfast.domain.compose_variables import MAX_CHARACTERS, Variables, looks_secret, mentioned
from holdfast.domain.errors import InvalidInput, TooLarge

VALUES = {"SET": "value", "EMPTY": "", "_x1": "low"}


@pytest.mark.parametrize(
    ("written", "filled"),
    [
        ("plain", "plain"),
        ("$SET", "value"),
        ("a-${SET}-b", "a-value-b"),
        ("$SET.txt", "value.txt"),
        ("${_x1}", "low"),
        ("$$SET", "$SET"),
        ("$${SET}", "${SET}"),
        ("100$$", "100$"),
        ("${SET:-other}", "value"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY-other}", ""),
        ("${NONE-other}", "other"),
        ("${NONE:-}", ""),
        ("${NONE:-a:b-c}", "a:b-c"),
        ("${NONE:-${SET}}", "value"),
        ("${NONE:-${EMPTY:-deep}}!", "deep!"),
        ("${NONE:-$$x}", "$x"),
        ("${SET:+there}", "there"),
        ("${EMPTY:+there}", ""),
        ("${EMPTY+there}", "there"),
        ("${NONE+there}", ""),
        ("${SET:?why}", "value"),
        ("${EMPTY?why}", ""),
        ("${SET:-${NEEDED:?why}}", "value"),
        ("$NONE.", "."),
    ],
)
def test_variables_are_filled_in_as_compose_does(written: str, filled: str) -> None:
    assert Variables(VALUES).filled(written, "here")[0] == filled


def test_what_is_nowhere_set_is_told_and_what_has_a_default_is_not() -> None:
    variables = Variables(VALUES)
    _, used = variables.filled("$NONE ${OTHER:-x} $SET ${SET:-$UNREAD}", "here")
    assert variables.missing == {"NONE"}
    assert used == {"SET", "OTHER"}


def test_a_required_variable_without_a_value_is_an_error_with_its_place_and_message() -> None:
    for written in ("${NEEDED:?set it}", "${NEEDED?set it}"):
        with pytest.raises(InvalidInput, match=r"services\.web\.image: .*NEEDED is required .*: set it") as caught:
            Variables({}).filled(written, "services.web.image")
        assert caught.value.code == "compose_variable_missing"
    with pytest.raises(InvalidInput):
        Variables({"NEEDED": ""}).filled("${NEEDED:?}", "here")


@pytest.mark.parametrize(
    "written", ["$", "a $ b", "${", "${}", "${SET", "${SET!}", "${1}", "${SET:}", "${A:-${B}", "$1"]
)
def test_what_is_no_variable_is_refused(written: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Variables(VALUES).filled(written, "here")
    assert caught.value.code == "compose_variable_malformed"


def test_nesting_has_an_end() -> None:
    with pytest.raises(InvalidInput, match="nested deeper"):
        Variables({}).filled("${A:-" * 5000 + "}" * 5000, "here")


def test_what_variables_come_to_has_a_bound_for_all_of_them_together() -> None:
    variables = Variables({"A": "x" * (MAX_CHARACTERS // 4)})
    variables.filled("$A$A", "here")
    with pytest.raises(TooLarge) as caught:
        variables.filled("$A$A$A", "there")
    assert caught.value.code == "compose_too_large"
    with pytest.raises(TooLarge):
        Variables({"A": "x" * 100_000}).filled("$A" * 100_000, "here")


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("POSTGRES_PASSWORD", "x", True),
        ("GITEA__database__PASSWD", "x", True),
        ("PGPASSWORD", "x", True),
        ("ADMIN_TOKEN", "x", True),
        ("api.key", "x", True),
        ("SECRET_KEY_BASE", "x", True),
        ("POSTGRES_PASSWORD_FILE", "/run/secrets/x", False),
        ("DATABASE_URL", "postgres://user:pass@db/x", True),
        ("DATABASE_URL", "postgres://db/x", False),
        ("DB_USER", "x", False),
        ("KEYBOARD", "x", False),
        ("COMPASS", "x", False),
    ],
)
def test_secrets_are_known_by_their_names_and_urls_by_the_password_in_them(name: str, value: str, secret: bool) -> None:
    assert looks_secret(name, value) is secret


def test_only_variables_that_the_file_mentions_are_sent() -> None:
    every = {"A": "1", "B": "2", "HOLDFAST_TOKEN": "3", "HOME": "/home/ann"}
    assert mentioned("x: ${A:-$B}\n- ./data", every) == {"A": "1", "B": "2"}
    assert mentioned("- ~/data:/data", every) == {"HOME": "/home/ann"}
