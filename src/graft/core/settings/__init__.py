"""The settings of params.yaml as frozen dataclasses, a module for each group of sections.

To add a setting, add a field to its section, whose docstring says meaning and unit (messages quote it), and a line to
params.yaml; the tests of the shipped file and of dvc.yaml's ``params`` notice what is missing.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from graft.core.settings.compute import Compute
from graft.core.settings.constraints import SECTION, Rate
from graft.core.settings.data import Data, Severity, SeverityChoice, Validation
from graft.core.settings.package import Gate, Package
from graft.core.settings.preprocess import Augment, DepthScaling, FitChoice, Image, NamedPolicy, Preprocess
from graft.core.settings.presets import DEFAULT, PresetName
from graft.core.settings.select import Rule, Select, Tune
from graft.core.settings.train import Train, Trust
from graft.core.settings.zoo import Candidate, Pretrain, Zoo

__all__ = [
    "BUILT_IN",
    "Augment",
    "Candidate",
    "Compute",
    "Data",
    "DepthScaling",
    "FitChoice",
    "Gate",
    "Image",
    "NamedPolicy",
    "Package",
    "Params",
    "Preprocess",
    "Pretrain",
    "Rule",
    "Select",
    "Severity",
    "SeverityChoice",
    "Train",
    "Trust",
    "Tune",
    "Validation",
    "Zoo",
]

# What the built-in data is trained with where params.yaml does not say otherwise: no other data inherits it.
BUILT_IN: dict[str, dict[str, Any]] = {
    "digits": {
        "data": {"train_per_class": 5},
        "train": {"label_counts": [1, 2]},
        "package": {"gate": {"min_accuracy": 0.9}},
    }
}


@dataclass(frozen=True, config=SECTION)
class Params:
    """The whole of params.yaml."""

    zoo: Zoo = dataclasses.field(default_factory=Zoo)
    preset: PresetName = DEFAULT
    """how much is done: quick, balanced or best; it stands for the settings that `graft presets` prints"""
    time_limit: Rate | None = None
    """minutes from the settings to the packaged model; null: as long as it takes"""
    metric: Annotated[str, Field(min_length=1)] = "accuracy"
    """what candidates and settings are chosen by, cross-validated, and a new model is compared with the production
    model by"""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """the only source of randomness"""
    data: Data = dataclasses.field(default_factory=Data)
    validation: Validation = dataclasses.field(default_factory=Validation)
    image: Image = dataclasses.field(default_factory=Image)
    preprocess: Preprocess = dataclasses.field(default_factory=Preprocess)
    augment: Augment = dataclasses.field(default_factory=Augment)
    pretrain: Pretrain = dataclasses.field(default_factory=Pretrain)
    select: Select = dataclasses.field(default_factory=Select)
    train: Train = dataclasses.field(default_factory=Train)
    tune: Tune = dataclasses.field(default_factory=Tune)
    trust: Trust = dataclasses.field(default_factory=Trust)
    package: Package = dataclasses.field(default_factory=Package)
    compute: Compute = dataclasses.field(default_factory=Compute)
