"""Which images hang together, and so count as one piece of evidence: group names -> numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def units_of(groups: pd.Series) -> NDArray[np.intp]:
    """Group names (n) -> 0..u-1, (n,): equal for images of one group; an image without a group is a unit of its own."""
    import pandas as pd

    codes, names = pd.factorize(groups)
    codes = codes.astype(np.intp)
    alone = codes < 0
    codes[alone] = len(names) + np.arange(alone.sum())
    return codes
