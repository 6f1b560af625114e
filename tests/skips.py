"""In continuous integration no test may skip for want of a program or of the development data: the run fails then."""

from __future__ import annotations

import os
from collections.abc import Iterable

# What a machine is or has, not what somebody forgot to install there.
ALLOWED = (
    "this machine has",
    "no file system can be mounted here",
    "only root may mount a disk",
    "root is stopped by no permission",
    "nobody may not run this interpreter",
    "the package index cannot be asked",
    "torch gives the linker its own folder without quotes",
    "here the system gives ports from",
)


def refused(reasons: Iterable[str]) -> list[str]:
    """The reasons for which a test may not skip where ``CI`` is ``true``; none elsewhere."""
    if os.environ.get("CI") != "true":
        return []
    plain = {reason.removeprefix("Skipped: ") for reason in reasons}
    return sorted(reason for reason in plain if not reason.startswith(ALLOWED))
