"""What did not come up on restored data: whether that takes the data back, and how it is told where it stays.

A restore goes back for what it made worse, never for what was no better before: who shares a volume with the restored
workload and was not healthy when the restore was asked for runs again, and decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.domain.errors import Failed, HoldfastError
from holdfast.domain.restore import OnUnhealthy, Redeploy, RestoreResult
from holdfast.services.active_restore import ActiveRestore


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeployFailure:
    """What failed to run again, and why."""

    redeploy: Redeploy
    error: HoldfastError

    @property
    def unhealthy(self) -> bool:
        """Whether it ran on the restored data, and was judged."""
        return self.error.code in ("deploy_unhealthy", "post_restore_failed")

    @property
    def result(self) -> RestoreResult:
        """How the restore ends if the restored data stays."""
        return RestoreResult.RESTORED_UNHEALTHY if self.unhealthy else RestoreResult.RESTORED_DEPLOY_FAILED

    def takes_back(self, on_unhealthy: OnUnhealthy) -> bool:
        """Whether the data from before comes back for it."""
        return self.unhealthy and on_unhealthy is OnUnhealthy.REVERT and not self.redeploy.unwell

    def told(self, restore: ActiveRestore) -> Failed:
        """The end of a restore whose data stays."""
        name = restore.workload.name
        own = self.redeploy.workload_id == restore.facts.workload_id
        who = "the workload" if own else f"{restore.afterwards[self.redeploy.workload_id].name}, which shares a volume,"
        if self.unhealthy:
            before = ", and was not before" if self.redeploy.unwell else ""
            return Failed(
                "restore_unhealthy",
                f"The data is restored, but {who} is not healthy on it{before}: {self.error.message}",
                next_step=f"Look at its logs; return with `holdfast undo {name}`.",
                details=self.error.details,
            )
        hook = restore.afterwards[self.redeploy.workload_id].spec.hooks.post_restore
        again = "restore again, since a deployment runs no post_restore hook" if hook else "deploy again"
        return Failed(
            "restore_deploy_failed",
            f"The data is restored, but {who} could not be started: {self.error.message}",
            next_step=f"Mend that, then {again}; or return with `holdfast undo {name}`.",
            details={**self.error.details, "cause": self.error.code},
        )
