"""The fixtures of evaluation."""

from tests.planted_evaluation import planted

__all__ = ["planted"]
