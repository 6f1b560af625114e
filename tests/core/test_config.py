"""params.yaml: the shipped file loads and is complete, and every mistake is named with its key and a way out."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from graft.core.config import REMOVED, flatten, load_params, parse_params, set_keys, with_built_in, with_preset
from graft.core.errors import ConfigError
from graft.core.settings import Candidate, Gate, NamedPolicy, Params
from graft.models.zoo.default_candidates import GLYPH_NET, image_candidates

SHIPPED = Path(__file__).parents[2] / "params.yaml"


def _values() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(SHIPPED.read_text(encoding="utf-8"))
    return copy.deepcopy(loaded)


def test_the_shipped_file_sets_every_key_but_those_of_the_built_in_data_and_of_presets() -> None:
    values = with_preset(with_built_in(_values()))
    assert all(f"# {name}: " in SHIPPED.read_text() for name in ("train_per_class", "label_counts", "min_accuracy"))
    for section in dataclasses.fields(Params):
        kind = type(getattr(load_params(SHIPPED), section.name))
        if dataclasses.is_dataclass(kind):
            assert set(values[section.name]) == {field.name for field in dataclasses.fields(kind)}, section.name
    assert set(values["package"]["gate"]) == {field.name for field in dataclasses.fields(Gate)}


def test_the_demo_is_what_the_readme_promises() -> None:
    params = load_params(SHIPPED)
    assert params.data.source == "digits" and params.data.train_per_class == 5
    kinds = {(candidate.arch, candidate.weights) for candidate in image_candidates("digits", 8)}
    lite0 = "timm:tf_efficientnet_lite0"
    assert kinds == {(GLYPH_NET, "source"), (lite0, "bundled"), (lite0, "none")}
    # Fewer labels are drawn from those that are trained on, so more of them cannot be compared.
    assert params.train.label_counts and max(params.train.label_counts) < params.data.train_per_class


def test_with_another_source_alone_nothing_is_left_of_the_demo() -> None:
    values = _values()
    values["data"]["source"] = "../photographs"
    params = parse_params(values, "p")
    assert params.data.train_per_class is None and params.train.label_counts == ()
    assert params.package.gate.min_accuracy is None and params.zoo.candidates == ()
    assert params.augment.domain == "auto" and params.augment.policy == (NamedPolicy("auto"),)


def test_what_is_set_for_the_built_in_data_holds() -> None:
    own = {"data": {"source": "digits", "train_per_class": None}, "package": {"gate": {"max_drop": None}}}
    params = parse_params(own, "p")
    assert params.data.train_per_class is None and params.train.label_counts == (1, 2)
    assert params.package.gate.min_accuracy == 0.9 and params.package.gate.max_drop is None


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        spot: Any = values
        for part in parents:
            spot = spot[int(part)] if part.isdigit() else spot[part]
        spot[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("dta", {}), "unknown key 'dta'\n  where: p\n  remedy: did you mean 'data' or 'train'?"),
        (_set("data/sorce", "x"), "unknown key 'data.sorce'\n  where: p\n  remedy: did you mean 'source'?"),
        (
            _set("zoo/candidates", [{"arch": "resnet18", "wieghts": "x"}]),
            "unknown key 'zoo.candidates.0.wieghts'\n  where: p\n  remedy: did you mean 'weights'?",
        ),
        (
            _set("package/gate/min_acuracy", 1),
            "unknown key 'package.gate.min_acuracy'\n  where: p\n  remedy: did you mean 'min_accuracy' "
            "or 'min_balanced_accuracy' or 'min_macro_f1'?",
        ),
        (
            _set("train/learning_rate", "fast"),
            "the key 'train.learning_rate' cannot be 'fast': input should be a valid number\n  where: p\n"
            "  remedy: train.learning_rate is: peak rate of the head",
        ),
        (
            _set("data/train_per_class", 2.5),
            "the key 'data.train_per_class' cannot be 2.5: input should be a valid integer\n  where: p\n"
            "  remedy: data.train_per_class is: labelled images per class to train on, the rest is tested; null: all; "
            "for undivided data",
        ),
        (
            _set("zoo/candidates", [{"arch": "resnet18", "depth": "deep"}]),
            "the key 'zoo.candidates.0.depth' cannot be 'deep': input should be 'auto' or 'last'\n  where: p\n"
            "  remedy: zoo.candidates.0.depth is: where the network is cut: a block's index counted from 0",
        ),
        (
            _set("validation/severity", {"decodable": "fatal"}),
            "the key 'validation.severity.decodable' cannot be 'fatal': input should be 'critical', 'warning', "
            "'quarantine' or 'ignore'\n  where: p\n  remedy: validation.severity is: for a check of ",
        ),
        (
            _set("validation/allowed_formats", ["HEIC"]),
            "the key 'validation.allowed_formats.0' cannot be 'HEIC': input should be 'JPEG', 'PNG', 'WEBP', 'HEIF', ",
        ),
        (_set("select/folds", True), "the key 'select.folds' cannot be True: input should be a valid integer"),
        (_set("zoo/candidates", []), "the key 'zoo.candidates' cannot be []"),
    ],
)
def test_a_mistake_is_named(change: Callable[[dict[str, Any]], None], message: str) -> None:
    values = _values()
    change(values)
    with pytest.raises(ConfigError) as caught:
        parse_params(values, "p")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("key", REMOVED)
def test_a_key_of_an_earlier_version_is_refused_with_what_to_write(key: str) -> None:
    section, _, name = key.partition(".")
    with pytest.raises(ConfigError) as caught:
        parse_params({section: {name: 1} if name else {}}, "p")
    assert (caught.value.what, caught.value.remedy) == (f"unknown key {key!r}", REMOVED[key])


def test_a_bare_name_is_a_candidate() -> None:
    params = parse_params({"zoo": {"candidates": ["resnet18", {"arch": "resnet34", "weights": "none"}]}}, "p")
    assert params.zoo.candidates == (Candidate("resnet18"), Candidate("resnet34", "none"))


@pytest.mark.parametrize("second", ["resnet18", {"arch": "resnet18", "weights": "pretrained"}])
def test_a_candidate_that_is_there_twice(second: object) -> None:
    values = _values()
    values["zoo"]["candidates"] = ["resnet18", {"arch": "resnet18", "size": 64}, second]
    with pytest.raises(
        ConfigError, match=r"zoo\.candidates names resnet18 twice \(weights: (DEFAULT|pretrained)"
    ) as raised:
        parse_params(values, "params.yaml")
    assert raised.value.remedy == "leave one of them out, or give it other weights, another depth or another size"


def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    """YAML 1.2: 1e-3 is a number, and `no` is a word."""
    file = tmp_path / "params.yaml"
    file.write_text("zoo: {candidates: [{arch: no}]}\ntrain: {learning_rate: 1e-3}\n", encoding="utf-8")
    params = load_params(file)
    assert params.train.learning_rate == 0.001
    assert params.zoo.candidates[0].arch == "no"


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no params\.yaml here"):
        load_params(tmp_path / "params.yaml")


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("seed: 0\ndata: [\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"not valid YAML(?s:.*)params\.yaml, line 3"):
        load_params(file)


_leaves = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(_leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whatever_is_in_it_nothing_but_a_config_error_comes_out(value: Any) -> None:
    rest = {"zoo": {"candidates": ["x"]}}
    for values in (value, {"zoo": value}, {"zoo": {"candidates": [value]}}, {**rest, "data": value}):
        try:
            parse_params(values, "p")
        except ConfigError as error:
            assert str(error)


def test_flatten_names_every_setting() -> None:
    flat = flatten(load_params(SHIPPED))
    assert flat["seed"] == 0 and flat["data.source"] == "digits"
    assert flat["package.gate"]["min_accuracy"] == 0.9


def test_keys_are_set_in_the_file_and_nothing_else_of_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED.read_text(encoding="utf-8"), encoding="utf-8")
    set_keys(path, {"preset": "quick", "time_limit": 7.5})
    assert load_params(path).preset == "quick" and load_params(path).time_limit == 7.5
    before, after = SHIPPED.read_text(encoding="utf-8").splitlines(), path.read_text(encoding="utf-8").splitlines()
    changed = [line for line in after if line not in before]
    assert changed == ["preset: quick", "time_limit: 7.5"] and len(before) == len(after)


def test_a_value_that_cannot_be_used_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("preset: best  # mine\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="the key 'time_limit' cannot be -1: input should be greater than 0"):
        set_keys(path, {"time_limit": -1})
    assert path.read_text(encoding="utf-8") == "preset: best  # mine\n"
