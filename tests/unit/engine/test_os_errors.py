"""Every system error has a stable code, says what was being done, and what to do now."""

import errno
import os

import pytest

from holdfast.domain.errors import Failed, HoldfastError, NoSpace
from holdfast.engine.os_errors import translate


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, NoSpace, "no_space"),
        (errno.EDQUOT, NoSpace, "no_space"),
        (errno.EIO, Failed, "disk_error"),
        (errno.EROFS, Failed, "filesystem_read_only"),
        (errno.EPERM, Failed, "permission_denied"),
        (errno.EACCES, Failed, "permission_denied"),
        (errno.EMFILE, Failed, "too_many_open_files"),
        (errno.EMLINK, Failed, "file_system_error"),
    ],
)
def test_a_system_error_becomes_one_of_holdfasts_own(number: int, kind: type[HoldfastError], code: str) -> None:
    error = translate(OSError(number, os.strerror(number)), "writing notes/a.txt")
    assert type(error) is kind
    assert error.code == code
    assert "writing notes/a.txt" in error.message
    assert os.strerror(number) in error.message
    assert error.next_step
    assert error.details["errno"] == errno.errorcode[number]
