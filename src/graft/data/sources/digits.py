"""The built-in data set: scikit-learn's UCI handwritten digits, written as class folders of PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

NAME = "digits"


def write_digits(folder: Path) -> None:
    """Write the 1,797 digits as 8 x 8 grey PNGs, ``<class>/digit_<number>.png``; the same bytes every time.

    The set counts ink in 16 steps a pixel; they are spread over 0 to 255.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    levels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    for name in digits.target_names:
        (folder / str(name)).mkdir(parents=True, exist_ok=True)
    for number, (level, target) in enumerate(zip(levels, digits.target, strict=True)):
        path = folder / str(digits.target_names[target]) / f"digit_{number:04d}.png"
        Image.fromarray(level).save(path, format="PNG")
