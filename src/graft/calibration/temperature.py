"""Temperature scaling: one number that makes a network as sure of its answers as it is right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from graft.calibration.fitted_trust import Temperature

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Before any image is seen, log T is taken for normal around 0 with this spread: T in 0.38 to 2.7 for 95%. Ten images
# then hardly move it, and a thousand decide.
PRIOR_SPREAD = 0.5
# A hold-out of fewer units than this is not looked at.
LEAST_UNITS = 10
_BOUNDS = (math.log(0.05), math.log(20.0))
# Half the 95% quantile of chi squared with one degree of freedom: how far the best log-likelihood may be missed.
_HALF_CHI = 1.920729410347062
_DECIMALS = 4


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.intp], units: NDArray[np.intp]) -> Temperature:
    """The temperature of least log loss on held-out images, drawn towards 1 as far as they are few.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (arXiv:1706.04599), section 4.2, minimise
    ``L(T) = mean_i -log softmax(z_i / T)[y_i]``. On a few images that minimum is noise, and with all of them right
    it lies at T = 0, so what is minimised here is ``u L(T) + (log T)^2 / (2 s^2)``: a normal prior on log T, with
    s = 0.5. ``u`` is the number of units (groups of images that hang together), as a group of a hundred images of one
    thing is no more evidence than one. The 95% interval is where that sum is within 1.92 of its least. Where it holds
    1, the temperature is 1: the images do not show that another is better, and what is not needed does harm.

    Args:
        logits: (m, k) of a network that has not seen the images.
        labels: class indices (m).
        units: int (m,), in 0..u-1.
    """
    from scipy.optimize import brentq, minimize_scalar

    count = len(np.unique(units))
    if count < LEAST_UNITS:
        reason = f"{count} held-out images or groups are too few to fit it on; at least {LEAST_UNITS} are needed"
        return Temperature(n_fitted=len(labels), reason=reason)
    wide = np.asarray(logits, dtype=np.float64)

    def missed(log_t: float) -> float:
        return count * log_loss_at(wide, labels, math.exp(log_t)) + log_t**2 / (2 * PRIOR_SPREAD**2)

    best = minimize_scalar(missed, bounds=_BOUNDS, method="bounded", options={"xatol": 1e-8})
    ends = [
        float(brentq(lambda x: missed(x) - best.fun - _HALF_CHI, *sorted((float(best.x), end)), xtol=1e-6))
        if missed(end) - best.fun > _HALF_CHI
        else end
        for end in _BOUNDS
    ]
    # Rounded, so that what the last bits of a network's logits are does not make another model.json.
    value, low, high = (round(math.exp(x), _DECIMALS) for x in (float(best.x), *ends))
    if low <= 1 <= high:
        said = f"{len(labels)} held-out images do not show that another than 1 is better (95%: {low:.2f} to {high:.2f})"
        return Temperature(1.0, low, high, len(labels), said)
    return Temperature(value, low, high, len(labels), None)


def log_loss_at(logits: NDArray[np.float64], labels: NDArray[np.intp], temperature: float) -> float:
    """Mean of ``-log softmax(z / T)[y]`` over images, nats."""
    from scipy.special import logsumexp

    scaled = logits / temperature
    return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels]))


def softmax_at(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Logits (n, k) -> probabilities (n, k) at a temperature; rows sum to one and their order stays."""
    from scipy.special import softmax

    return np.asarray(softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1))


def uncalibrated(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """What the model would say at temperature 1: ``softmax(T log p)``, as ``log p = z / T`` but for a constant.

    A probability of 0, where the exponential gave out, stays 0. At temperature 1 it is what the model says, to the bit.
    """
    if temperature == 1:
        return probabilities
    with np.errstate(divide="ignore"):
        return softmax_at(np.log(probabilities), 1 / temperature)
