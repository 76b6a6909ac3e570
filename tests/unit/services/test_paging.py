from __future__ import annotations

import pytest

from holdfast.domain.errors import InvalidInput
from holdfast.domain.ids import new_id
from holdfast.services.paging import MAX_LIMIT, check_page, make_page


def test_a_full_page_with_more_behind_it_has_a_cursor() -> None:
    page = make_page(["c", "b", "a"], 2, lambda item: item)
    assert page.items == ("c", "b")
    assert page.next_cursor == "b"


def test_the_last_page_has_no_cursor() -> None:
    assert make_page(["b", "a"], 2, lambda item: item).next_cursor is None
    assert make_page([], 2, str).items == ()


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1])
def test_a_limit_out_of_bounds_is_refused(limit: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_page(limit, None)
    assert caught.value.code == "limit_invalid"


def test_a_cursor_that_no_page_gave_is_refused() -> None:
    check_page(1, new_id())
    with pytest.raises(InvalidInput) as caught:
        check_page(1, "../etc")
    assert caught.value.code == "cursor_invalid"
