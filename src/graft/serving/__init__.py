"""The BentoML service: the packaged model behind HTTP, its page, and the model store."""

from __future__ import annotations

from graft.core.compat.openmp import compute_alone, wait_briefly
from graft.core.telemetry import switch_off

switch_off()
wait_briefly()
compute_alone()
