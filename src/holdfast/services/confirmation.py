"""What replaces live data is asked for twice: by the request, and by naming once more what is to be restored."""

from __future__ import annotations

from holdfast.domain.errors import ConfirmationMissing, Problem, Refused


def require_confirmed(confirm: str | None, expected: str) -> None:
    """Raises ``ConfirmationMissing`` (``confirmation_missing``) or ``Refused`` (``confirmation_mismatch``)."""
    if confirm is None:
        raise ConfirmationMissing(
            "confirmation_missing",
            "A restore replaces live data, so it has to be confirmed.",
            next_step=f"Send the header X-Confirm-Restore: {expected}",
        )
    if confirm != expected:
        raise Refused(
            [
                Problem(
                    code="confirmation_mismatch",
                    message="The confirmation names something else than what is to be restored.",
                    next_step=f"Send the header X-Confirm-Restore: {expected}",
                    details={"expected": expected},
                )
            ]
        )
