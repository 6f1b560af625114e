"""From a sample to a network's input: the protocols that the preprocessing of a modality implements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Union

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from numpy.typing import NDArray

    from graft.core.packed_files import StoredFile
    from graft.core.settings import DepthScaling, FitChoice

# A batch of n samples as a network takes it: a tensor (n, ...), or a mapping of tensors, such as tokens and their mask.
Inputs = Union["torch.Tensor", Mapping[str, "torch.Tensor"]]


class Loader(Protocol):
    """Reads a sample into an array of one shape and type, which is cached. Equal loaders give equal arrays."""

    def load(self, sample: StoredFile | bytes) -> NDArray[Any]:
        """One sample, from its file or its bytes. Raises DataError where it cannot be decoded."""
        ...

    def load_each(self, sample: StoredFile | bytes, loaders: Iterable[Loader]) -> dict[Loader, NDArray[Any]]:
        """What each of several loaders of one modality gives, with no more decoding than they need together."""
        return {loader: loader.load(sample) for loader in loaders}

    def random_rows(self, count: int, seed: int = 0) -> NDArray[Any]:
        """Made-up samples (count, ...) of full size, to time, count and check networks with."""
        ...


@dataclass(frozen=True)
class Baseline:
    """A sample without a network: what features have to beat.

    Attributes:
        noun: what it is made of, such as ``pixels``.
        loader: its array, flattened, is what a linear head is fitted to.
        what: the same as a noun phrase, such as ``pixels at 32 px``.
    """

    noun: str
    loader: Loader
    what: str


class Preprocessor(Protocol):
    """From a sample's file to a network's input. It is stored with the model; training and serving use the same one.

    Attributes:
        kind: its modality's name, stored in the model's card.
        unit: of :attr:`size`.
        free_axes: of its arrays those whose length varies between batches; the first is the number of samples.
    """

    kind: ClassVar[str]
    unit: ClassVar[str]
    free_axes: ClassVar[tuple[int, ...]] = (0,)

    @property
    def loader(self) -> Loader:
        """Reads samples; what it gives may be shared with preprocessors of an equal one."""
        ...

    @property
    def size(self) -> int:
        """Of the input, in :attr:`unit`."""
        ...

    @property
    def variant(self) -> FitChoice | None:
        """Which of :meth:`variants` it is; None where there is but one."""
        return None

    @property
    def cache_key(self) -> str:
        """Equal for preprocessors that give equal batches."""
        return str(self)

    @property
    def baseline(self) -> Baseline:
        """What a network has to beat."""
        ...

    def load(self, sample: StoredFile | bytes) -> NDArray[Any]:
        """One sample. Raises DataError where it cannot be decoded."""
        return self.loader.load(sample)

    def collate(self, rows: NDArray[Any], device: torch.device | str = "cpu") -> Inputs:
        """Loaded samples (n, ...) -> a batch on ``device``."""
        ...

    def arrays(self, rows: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """The same without torch: the inputs of an exported model by name, in the order of the batch's mapping."""
        ...

    def plain_features(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Loaded samples (n, ...) -> float32 (n, d) without a network, few enough for a linear rule."""
        ...

    def variants(
        self, facts: pd.DataFrame | None, fit: FitChoice, depth_scaling: DepthScaling
    ) -> Sequence[Preprocessor]:
        """The ways to preprocess this data that are worth trying, the usual one first.

        Args:
            facts: statistics of the training samples, as the manifest has them; None: nothing is known of them.
            fit, depth_scaling: settings of images.
        """
        return (self,)

    def to_json(self) -> dict[str, Any]:
        """Everything that decides its batches, with its ``kind``."""
        ...

    def problem(self) -> str | None:
        """Why it cannot be used, where it was read from a damaged card."""
        ...

    def describe(self) -> str:
        """For people: size and kind of the input."""
        ...
