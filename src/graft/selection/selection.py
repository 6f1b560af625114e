"""The whole selection: probe all, measure all, fine-tune the finalists, choose, and say what the controls say."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graft.core.errors import GraftError
from graft.core.settings import Params
from graft.features.cache import Store
from graft.features.image_cache import decoded_at
from graft.metrics.scorer import Scorer
from graft.models.backbone import Network, build_network
from graft.models.preprocessing import Geometry
from graft.parallel.mapper import Mapper, SerialMapper
from graft.selection.candidates import Result, TrainSet, preprocessings_for
from graft.selection.controls import Contestants, Control, run_controls
from graft.selection.failures import Failed, reason_of, refuse_all
from graft.selection.finalists import SelectionInputs
from graft.selection.limits import excesses, refuse_none
from graft.selection.measure import Served, measure
from graft.selection.names import name_of, name_of_candidate
from graft.selection.rule import Criterion, choose, finalists
from graft.selection.workers import probed, trained_in_folds
from graft.training.auto_strategy import NAMES
from graft.training.compute.devices import device_for


@dataclass(frozen=True)
class Contest:
    """How a selection went.

    Attributes:
        results: of the candidates that could be probed and measured, in the order of params.yaml.
        failed: the others, with their reasons.
        controls: see :mod:`graft.selection.controls`.
        winner: one of ``results``.
    """

    results: tuple[Result, ...]
    failed: tuple[Failed, ...]
    controls: tuple[Control, ...]
    winner: Result


@dataclass
class _Course:
    """A selection under way."""

    data: TrainSet
    params: Params
    sources: Path
    store: Store
    say: Callable[[str], None]
    mapper: Mapper
    results: list[Result] = dataclasses.field(default_factory=list)
    failed: list[Failed] = dataclasses.field(default_factory=list)

    @property
    def given(self) -> SelectionInputs:
        """What every worker needs."""
        return SelectionInputs(self.data, self.params, self.sources, self.store)

    @property
    def by(self) -> Criterion:
        """What is chosen by."""
        return Criterion.of(self.params)

    def decode(self) -> None:
        """Open every image once for all sizes that the candidates want; one that cannot be built fails by itself."""
        geometries: list[Geometry] = []
        for candidate in self.params.zoo.candidates:
            with contextlib.suppress(GraftError):
                tried = preprocessings_for(candidate, self.data, self.params, self.sources)
                geometries.extend(item.geometry for item in tried)
        decoded_at(self.data.images, geometries, self.store)

    def probe(self) -> None:
        """Probe every candidate."""
        candidates = self.params.zoo.candidates
        for candidate, found in zip(candidates, probed(self.given, candidates, self.mapper), strict=True):
            if isinstance(found, str):
                self._fail(Failed(candidate, found))
            else:
                self.results.append(found)
                fits = ", ".join(f"{fit} {self.by.scorer.shown(score):.3f}" for fit, score in found.fits.items())
                said = f"{name_of(found)}: linear probe {self.by.scorer.said(found.probe.mean)}"
                self.say(f"{said} ({fits})" if len(found.fits) > 1 else said)

    def measure(self) -> None:
        """Time and weigh every candidate as it would be served, and hold that against the limits."""
        classes = len(self.data.classes)
        served = [_served(item, classes) for item in self.results]
        measured = measure(served, device_for(self.params.compute.device), self.params.seed)
        kept = []
        for item, found in zip(self.results, measured, strict=True):
            if isinstance(found, Exception):
                self._fail(Failed(item.candidate, f"measuring: {reason_of(found)}", item.seconds, item))
                continue
            known = dataclasses.replace(item, measured=found)
            kept.append(dataclasses.replace(known, excess=excesses(known, self.params.select)))
        self.results = kept

    def finetune(self) -> None:
        """Train the finalists without each fold; where one fails, the next by probe takes its place."""
        while True:
            waiting = [item for item in finalists(self.results, self.params.select.finalists) if not item.is_finalist]
            if not waiting:
                return
            for item, tuned in zip(waiting, trained_in_folds(self.given, waiting, self.mapper), strict=True):
                place = self.results.index(item)
                if isinstance(tuned, str):
                    del self.results[place]
                    self._fail(Failed(item.candidate, tuned, item.seconds, item))
                else:
                    self.results[place] = tuned
                    self.say(f"{name_of(tuned)}: {_told(tuned, self.by.scorer)}")

    def refuse_nothing(self) -> None:
        """Refuse to go on where no candidate is left that could win."""
        if not self.results:
            refuse_all(self.failed, name_of_candidate)
        refuse_none(self.results, name_of)

    def _fail(self, failed: Failed) -> None:
        self.failed.append(failed)
        self.say(f"{name_of_candidate(failed.candidate)}: failed {failed.reason}")


def run_contest(
    data: TrainSet,
    params: Params,
    sources: Path,
    store: Store,
    say: Callable[[str], None] = print,
    mapper: Mapper | None = None,
) -> Contest:
    """Run the selection that ``params`` asks for.

    Args:
        data: the training images; nothing else is ever opened.
        params: candidates, folds, finalists, limits.
        sources: the folder of the models that were pretrained here.
        store: what caches are kept in.
        say: is told of each candidate when it is done.
        mapper: what does the candidates and their folds; None: one after the other, here. What is measured is
            measured here in any case, when no worker has anything to do.

    Raises:
        GraftError: every candidate failed.
        ConfigError: none keeps the limits.
        DataError: an image cannot be decoded.
    """
    course = _Course(data, params, sources, store, say, mapper or SerialMapper())
    course.decode()
    for step in (course.probe, course.measure, course.finetune):
        step()
        course.refuse_nothing()
    winner = choose(course.results, course.by)
    given = Contestants(course.results, winner, data, params, sources, store, course.mapper)
    return Contest(tuple(course.results), tuple(course.failed), tuple(run_controls(given)), winner)


def _told(result: Result, scorer: Scorer) -> str:
    """The means of what was tried, such as ``head alone: accuracy 0.912, fine-tuned: accuracy 0.934``."""
    return ", ".join(f"{NAMES[name]}: {scorer.said(float(np.mean(of)))}" for name, of in result.trained.items())


def _served(item: Result, classes: int) -> Served:
    """The network as it would be served, but with random weights, which take the same time and need no file."""
    size = item.preprocessing.geometry.size
    depth = None if item.probe.depth == item.blocks - 1 else item.probe.depth

    def build() -> Network:
        return build_network(item.candidate.arch, classes, depth, size)

    return Served(build, item.cost.params_m * 4e6, size)
