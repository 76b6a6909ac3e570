"""Suites that every adapter of a port passes, and the fakes' own runs of them."""

import pytest

pytest.register_assert_rewrite("tests.contract.runtime")
