"""The service: the packaged model behind HTTP, a page for people, the model store. The only room with BentoML in it."""

from __future__ import annotations

import sys

from graft.telemetry import switch_off
from graft.threads import compute_alone, wait_briefly

switch_off()
wait_briefly()
compute_alone()
# `bentoml serve` and `bentoml build` ask whether they may report before they load the service, and remember the
# answer, so that a switch set here would come too late: make them ask again.
_usage = sys.modules.get("bentoml._internal.utils.analytics.usage_stats")
if _usage is not None:
    _usage.do_not_track.cache_clear()
