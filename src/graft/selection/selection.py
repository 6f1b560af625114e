"""Selection: probe and measure all candidates, fine-tune the finalists, choose the winner, compute the controls."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graft.core.errors import GraftError
from graft.features.image_cache import decoded_at
from graft.metrics.scorer import Scorer
from graft.modalities.preprocessor import Loader
from graft.models.backbone import Network
from graft.models.zoo.registry import build_network
from graft.parallel.mapper import Mapper, SerialMapper
from graft.selection.best import Criterion
from graft.selection.candidates import CandidateResult, preprocessings_for
from graft.selection.controls import Control, ControlInputs, run_controls
from graft.selection.cost.limits import excesses, refuse_none
from graft.selection.cost.measure import Served, measure
from graft.selection.failures import Failed, reason_of, refuse_all
from graft.selection.inputs import SelectionInputs
from graft.selection.report.names import name_of, name_of_candidate
from graft.selection.rule import choose_winner, finalists
from graft.selection.workers import probed, trained_in_folds
from graft.training.auto_strategy import NAMES
from graft.training.compute.devices import device_for


@dataclass(frozen=True)
class SelectionResult:
    """How a selection went.

    Attributes:
        results: of the candidates that could be probed and measured, in the order of params.yaml.
        failed: the others, with their reasons.
        controls: see :mod:`graft.selection.controls`.
        winner: one of ``results``.
    """

    results: tuple[CandidateResult, ...]
    failed: tuple[Failed, ...]
    controls: tuple[Control, ...]
    winner: CandidateResult


@dataclass
class _SelectionRun:
    """A selection under way."""

    given: SelectionInputs
    say: Callable[[str], None]
    mapper: Mapper
    results: list[CandidateResult] = dataclasses.field(default_factory=list)
    failed: list[Failed] = dataclasses.field(default_factory=list)

    @property
    def by(self) -> Criterion:
        """What is chosen by."""
        return self.given.criterion

    def decode(self) -> None:
        """Open every image once for all sizes that the candidates want; one that cannot be built fails by itself."""
        loaders: list[Loader] = []
        for candidate in self.given.settings.candidates:
            with contextlib.suppress(GraftError):
                loaders.extend(item.loader for item in preprocessings_for(candidate, self.given))
        decoded_at(self.given.data.images, loaders, self.given.store)

    def probe(self) -> None:
        """Probe every candidate."""
        candidates = self.given.settings.candidates
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
        served = [_served(item, len(self.given.data.outputs)) for item in self.results]
        measured = measure(served, device_for(self.given.settings.device), self.given.settings.seed)
        kept = []
        for item, found in zip(self.results, measured, strict=True):
            if isinstance(found, Exception):
                self._fail(Failed(item.candidate, f"measuring: {reason_of(found)}", item.seconds, item))
                continue
            known = dataclasses.replace(item, measured=found)
            kept.append(dataclasses.replace(known, excess=excesses(known, self.given.settings.select)))
        self.results = kept

    def finetune(self) -> None:
        """Train the finalists without each fold; where one fails, the next by probe takes its place."""
        while True:
            waiting = [
                item for item in finalists(self.results, self.given.settings.select.finalists) if not item.is_finalist
            ]
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


def run_selection(
    given: SelectionInputs, say: Callable[[str], None] = print, mapper: Mapper | None = None
) -> SelectionResult:
    """Choose a candidate.

    Args:
        given: the training images, and the settings of the selection.
        say: told of each candidate when it is done.
        mapper: runs candidates and folds; None: one after the other. Time and memory are measured in this
            process, while no worker works.

    Raises:
        GraftError: every candidate failed.
        ConfigError: none keeps the limits.
        DataError: an image cannot be decoded.
    """
    course = _SelectionRun(given, say, mapper or SerialMapper())
    course.decode()
    for step in (course.probe, course.measure, course.finetune):
        step()
        course.refuse_nothing()
    winner = choose_winner(course.results, course.by)
    contestants = ControlInputs(course.results, winner, given, course.mapper)
    return SelectionResult(tuple(course.results), tuple(course.failed), tuple(run_controls(contestants)), winner)


def _told(result: CandidateResult, scorer: Scorer) -> str:
    """The means of what was tried, such as ``head alone: accuracy 0.912, fine-tuned: accuracy 0.934``."""
    return ", ".join(f"{NAMES[name]}: {scorer.said(float(np.mean(of)))}" for name, of in result.trained.items())


def _served(item: CandidateResult, outputs: int) -> Served:
    """The network as it would be served, but with random weights, which take the same time and need no file."""
    preprocessing = item.preprocessing
    depth = None if item.probe.depth == item.blocks - 1 else item.probe.depth

    def build() -> Network:
        return build_network(item.candidate.arch, outputs, depth, preprocessing.size)

    return Served(build, item.cost.params_m * 4e6, preprocessing)
