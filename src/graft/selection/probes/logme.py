"""LogME: how well a Bayesian linear model explains the labels by the features, without training any head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.selection.probes.cross_validation import limited_threads
from graft.selection.probes.input_checks import require_usable

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_STEPS = 200
TOLERANCE = 1e-7  # relative change of alpha / beta at which the fixed point is reached
# Labels are explained no more precisely than to this deviation, else the evidence of an exact fit would be infinite.
LEAST_DEVIATION = 1e-6
# alpha / beta in units of the largest squared singular value: past these ends the evidence no longer changes.
LEAST_RATIO, MOST_RATIO = 1e-14, 1e14


@dataclass(frozen=True)
class Spectrum:
    """The features as the evidence sees them.

    Attributes:
        squares: squared singular values of F that are not zero, (r).
        inside: squared coordinates of each class's targets along the left singular vectors, (r, k).
        outside: squared length of what no combination of features reaches, (k).
        count: images n.
    """

    squares: NDArray[np.float64]
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    count: int


def logme(features: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Largest log evidence per image in nats, averaged over the classes; higher is better, and it may be negative.

    For each class the targets y (n), 1 for its images and 0 else, follow ``y = F w + noise`` with F (n, d),
    ``w ~ N(0, I / alpha)`` and ``noise ~ N(0, I / beta)``. With A = alpha I + beta F'F and m = beta A^-1 F'y,

        log p(y | F, alpha, beta) = n/2 log beta + d/2 log alpha - n/2 log 2 pi
                                    - beta/2 |F m - y|^2 - alpha/2 m'm - 1/2 log |A|

    is maximised by the fixed point ``gamma = sum_i beta s_i^2 / (alpha + beta s_i^2)``, ``alpha = gamma / m'm``,
    ``beta = (n - gamma) / |F m - y|^2`` over the squared singular values s_i^2 of F (K. You, Y. Liu, J. Wang, M. Long,
    LogME: Practical Assessment of Pre-trained Models for Transfer Learning, ICML 2021, arXiv:2102.11005). Features
    are taken as they are, and multiplying all of them by a number changes nothing.

    Zero mass: features that are all zero leave the noise alone, ``-1/2 (log(2 pi mean(y)) + 1)`` per class; targets
    that the features reach exactly are taken as known to 1e-6, so the evidence stays finite.

    Args:
        features: (n, d), finite.
        labels: class indices (n); classes without images do not count.

    Raises:
        TrainingError: see :func:`graft.selection.probes.input_checks.require_usable`; among others for a single class,
            whose constant target any constant feature reaches, so that the figure says nothing.
    """
    require_usable(features, labels)
    targets = (labels[:, None] == np.unique(labels)[None, :]).astype(np.float64)
    with limited_threads(features):
        return float(np.mean(_evidence(_spectrum(features.astype(np.float64), targets))) / len(labels))


def _spectrum(features: NDArray[np.float64], targets: NDArray[np.float64]) -> Spectrum:
    """Singular values and coordinates by the eigenvectors of the smaller of F F' and F'F: 5 to 10 times an SVD's speed.

    Features are float32, so singular values under 1e-7 of the largest are rounding; the Gram matrix in float64
    keeps those above.
    """
    largest = np.abs(features).max()
    scaled = features / (largest if largest > 0 else 1.0)
    wide = scaled.shape[0] <= scaled.shape[1]
    values, vectors = np.linalg.eigh(scaled @ scaled.T if wide else scaled.T @ scaled)
    kept = values > max(values[-1], 0.0) * max(scaled.shape) * np.finfo(np.float64).eps
    squares, vectors = values[kept], vectors[:, kept]
    turned = vectors.T @ (targets if wide else scaled.T @ targets)
    inside = turned**2 if wide else turned**2 / squares[:, None]
    outside = np.maximum((targets**2).sum(axis=0) - inside.sum(axis=0), 0.0)
    return Spectrum(squares, inside, outside, len(features))


def _evidence(spectrum: Spectrum) -> NDArray[np.float64]:
    """Largest log evidence in nats of each class's targets, (k)."""
    count, outside = spectrum.count, spectrum.outside
    if not len(spectrum.squares):
        return _gaussian(count, outside)
    squares = (spectrum.squares / spectrum.squares.max())[:, None]
    ratio = np.ones(spectrum.inside.shape[1])  # alpha / beta: all that m depends on
    for _ in range(MOST_STEPS):
        previous = ratio
        gamma, rest, length, residual = _fit(spectrum, squares, ratio)
        ratio = np.clip(gamma * residual / (rest * length), LEAST_RATIO, MOST_RATIO)
        if np.all(np.abs(ratio - previous) <= TOLERANCE * previous):
            break
    _, _, length, residual = _fit(spectrum, squares, ratio)
    # At a given ratio the best noise is that of a Gaussian with covariance I + F F' / ratio, whose quadratic form is
    # residual + ratio m'm; at the fixed point it is the beta of the formula.
    determinant: NDArray[np.float64] = np.log1p(squares / ratio).sum(axis=0)
    return _gaussian(count, residual + ratio * length) - 0.5 * determinant


def _fit(
    spectrum: Spectrum, squares: NDArray[np.float64], ratio: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """gamma, n - gamma, m'm and |F m - y|^2 of each class at alpha / beta = ``ratio``, (k) each; none of them zero."""
    shrunk = squares / (squares + ratio)
    length = (spectrum.inside * shrunk**2 / squares).sum(axis=0)
    residual = spectrum.outside + (spectrum.inside * (1.0 - shrunk) ** 2).sum(axis=0)
    floor = spectrum.count * LEAST_DEVIATION**2
    # n - gamma as a sum, because the difference is lost in rounding where n vectors reach everything.
    rest = spectrum.count - len(squares) + (ratio / (squares + ratio)).sum(axis=0)
    return shrunk.sum(axis=0), rest, np.maximum(length, np.finfo(np.float64).tiny), np.maximum(residual, floor)


def _gaussian(count: int, quadratic: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log density in nats of ``count`` values with ``quadratic`` as their squared length, at the likeliest variance."""
    variance = np.maximum(quadratic / count, LEAST_DEVIATION**2)
    density: NDArray[np.float64] = -0.5 * count * (np.log(2 * np.pi * variance) + 1.0)
    return density
