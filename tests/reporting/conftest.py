"""The fixtures of reporting."""

from tests.planted_evaluation import planted

__all__ = ["planted"]
