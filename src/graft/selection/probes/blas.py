"""How many threads linear algebra may use: one for the small matrices of most probes, all of them for large ones."""

from __future__ import annotations

from contextlib import AbstractContextManager

# Below this many multiplications in its largest step, several threads spend their time waiting for each other: up to 50
# times as long as one alone takes where other work goes on beside it. Above it there is enough for each of them to do.
SMALL_WORK = 5e9


class Threads:
    """Limits what the linear algebra of NumPy, SciPy and scikit-learn may use.

    To find their libraries takes 10 ms, as long as a whole small probe, so one of these serves many of them.
    """

    def __init__(self) -> None:
        import scipy.linalg  # noqa: F401  # loads its own library, which would else be missed
        from threadpoolctl import ThreadpoolController

        self._libraries = ThreadpoolController()

    def for_work(self, multiplications: float) -> AbstractContextManager[object]:
        """Inside, one thread is used, unless the largest step has more ``multiplications`` than one should do."""
        limit: AbstractContextManager[object] = self._libraries.limit(
            limits=1 if multiplications < SMALL_WORK else None
        )
        return limit
