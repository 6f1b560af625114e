"""The BentoML service: the packaged model behind HTTP, its page, and the model store."""

from __future__ import annotations

from graft.telemetry import switch_off
from graft.threads import compute_alone, wait_briefly

switch_off()
wait_briefly()
compute_alone()
