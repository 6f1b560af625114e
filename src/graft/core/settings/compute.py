"""``compute``: what the work runs on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from graft.core.settings.constraints import SECTION, Positive, Rate, Text


@dataclass(frozen=True, config=SECTION)
class Compute:
    """What the work runs on."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")] = "auto"
    """auto takes a GPU if there is one"""
    devices: Positive = 1
    """how many devices train together, a process each; several CPUs share the cores"""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """what is calculated in while training; auto: the quickest here, by a short trial, kept"""
    threads: Positive | None = None
    """CPU threads; null: all cores"""
    mapper: Literal["serial", "processes", "dask", "ray"] = "serial"
    """what does candidates, folds and trials: one after the other, or several at once"""
    workers: Positive | None = None
    """how many the mapper does at once; null: cores / threads (one thread each), or a GPU each"""
    address: Text | None = None
    """of a Dask scheduler (tcp://host:8786) or a Ray cluster (host:6379); null: one on this machine"""
    cache_gb: Rate = 20.0
    """GB (1e9 bytes) that .graft/cache may hold; what was used longest ago goes first"""
