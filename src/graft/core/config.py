"""params.yaml -> :class:`graft.core.settings.Params`: unknown keys refused with the nearest valid name."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from graft.core.errors import ConfigError, did_you_mean
from graft.core.settings import BUILT_IN, Candidate, Params
from graft.core.settings.presets import DEFAULT, NAMES, preset_values

# Settings of how the work is done: the results are the same to the bit, so no stage of dvc.yaml depends on them.
NO_RESULT = frozenset({"compute.address", "compute.cache_gb", "compute.mapper", "compute.workers"})


# Keys of earlier versions, and what to do in their place.
REMOVED = {
    "train.backbone_rate": "write train.backbone_lr_ratio",
    "train.block_decay": "write train.layer_decay",
    "train.clip_norm": "write train.grad_clip_norm",
    "train.finetune_epochs": "write train.epochs",
    "trust.usual_share": "write trust.in_distribution_share",
    "train.unfreeze_blocks": "write train.unfreeze, the share of the blocks that is trained",
    "train.full_epochs": "leave it out: train.strategy: finetune trains all blocks that train.unfreeze names at once",
    "train.gradual_epochs": "leave it out: train.layer_decay lets early blocks move less",
    "train.patience": "leave it out: a schedule ends after train.epochs, and is never cut short",
    "train.checkpoint_seconds": "leave it out: a killed training goes on from the end of an epoch",
    "tune.sampler": "leave it out: TPE proposes, as it did by default",
    "tune.pruner": "leave it out: trials that fall behind the median are cut short",
    "zoo.offline": "leave it out, and set GRAFT_OFFLINE=1 in the environment",
    "augment.preview_images": "leave it out: the sheet shows six images",
    "trust.reference_images": "leave it out: at most 2,000 are kept",
    "evaluate": "leave the section out: 1,000 resamples, 30 timed predictions, and the memory is measured",
    "package.take": "leave it out: the control is never packaged; as a candidate with `weights: none` it may win",
    "compute.compile": "leave it out: networks are trained as PyTorch runs them",
    "select.finetune_epochs": "leave it out: finalists are trained as the winner is, for train.epochs",
}


def load_params(path: Path) -> Params:
    """Read and check ``path``.

    Raises:
        ConfigError: the file is missing, is not YAML, or has a key or value that cannot be used; the message
            names the key and, for an unknown one, the nearest valid key.
    """
    return parse_params(_read_yaml(path), path)


def keys_set(path: Path) -> frozenset[str]:
    """The keys that the file itself sets, dotted: neither a preset nor the built-in data sets those.

    Raises:
        ConfigError: the file is missing, or is not YAML.
    """
    values = _read_yaml(path)
    sections = values.items() if isinstance(values, dict) else ()
    inner = {f"{name}.{key}" for name, section in sections if isinstance(section, dict) for key in section}
    return frozenset(inner | {name for name, section in sections if not isinstance(section, dict)})


def set_keys(path: Path, values: Mapping[str, Any]) -> None:
    """Set keys of the outermost level in the file, in one step; everything else, comments too, stays as it is.

    Raises:
        ConfigError: the file is missing or not YAML, or a value cannot be used; the file is as it was then.
    """
    from ruamel.yaml import YAML

    from graft.core.files import write_text

    parse_params({**(_read_yaml(path) or {}), **values}, path)
    yaml = YAML()
    # As DVC writes it (`dvc exp run -S`), but without breaking lines.
    yaml.width, yaml.preserve_quotes = 4096, True
    content = yaml.load(path.read_text(encoding="utf-8"))
    content.update(values)
    text = io.StringIO()
    yaml.dump(content, text)
    write_text(path, text.getvalue())


def parse_params(values: Any, where: Path | str) -> Params:
    """Check already parsed YAML; ``where`` is named in messages."""
    if not isinstance(values, dict):
        raise ConfigError(
            "params.yaml must hold keys and values", where=where, remedy="start from the file graft ships"
        )
    values = with_preset(with_built_in(values))
    # Through JSON: its strict mode takes a list for a tuple and a mapping for a dataclass, but no text for a number.
    try:
        params = _adapter().validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise _explain(error, where) from None
    _refuse_duplicates(params.zoo.candidates, where)
    return params


def with_built_in(values: dict[str, Any]) -> dict[str, Any]:
    """The values, and those of the built-in data where ``data.source`` names it and they are not set."""
    data = values.get("data")
    source = data.get("source") if isinstance(data, dict) else None
    return _under(values, BUILT_IN.get(source, {})) if isinstance(source, str) else values


def with_preset(values: dict[str, Any]) -> dict[str, Any]:
    """The values, and those of the preset where they are not set; an unknown preset is refused later, with the rest."""
    preset = values.get("preset", DEFAULT)
    return _under(values, preset_values(preset)) if preset in NAMES else values


def _under(values: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """``values``, completed by ``others`` where keys are missing, section by section."""
    laid: dict[str, Any] = {**others, **values}
    for key, other in others.items():
        if isinstance(other, dict) and isinstance(laid[key], dict):
            laid[key] = _under(laid[key], other)
    return laid


def _refuse_duplicates(candidates: Sequence[Candidate], where: Path | str) -> None:
    """Each candidate once: a second one would cost as much again and take a finalist's place from another."""
    # Two names of the same weights.
    same = [replace(one, weights="DEFAULT") if one.weights == "pretrained" else one for one in candidates]
    for index, candidate in enumerate(same):
        if candidate in same[:index]:
            size = "" if candidate.size is None else f", size: {candidate.size}"
            raise ConfigError(
                f"zoo.candidates names {candidate.arch} twice (weights: {candidates[index].weights}, "
                f"depth: {candidate.depth}{size})",
                where=where,
                remedy="leave one of them out, or give it other weights, another depth or another size",
            )


@cache
def _adapter() -> TypeAdapter[Params]:
    return TypeAdapter(Params)


def _read_yaml(path: Path) -> Any:
    # YAML 1.2, the same parser and so the same values as DVC (1e-3 is a number, `no` is a word).
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            "there is no params.yaml here", where=path, remedy="run from the project's folder, where params.yaml lies"
        ) from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(
            f"params.yaml is not valid YAML: {getattr(error, 'problem', error)}",
            where=f"{path}{line}",
            remedy="mend that line; indentation is two spaces, and a colon is followed by a space",
        ) from None


def _explain(error: ValidationError, where: Path | str) -> ConfigError:
    """The first error as one message: its key, the value that was found, and what is allowed."""
    first = _most_telling(error)
    key = ".".join(str(part) for part in first["loc"] if not _is_branch(part))
    if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        remedy = REMOVED.get(key) or did_you_mean(key.rpartition(".")[2], _resolve(key)[0])
        return ConfigError(f"unknown key {key!r}", where=where, remedy=remedy)
    if first["type"] in {"missing", "missing_argument"}:
        return ConfigError(f"the key {key!r} is missing", where=where, remedy=f"add {key!r} to the file")
    message = first["msg"].removeprefix("Value error, ")
    return ConfigError(
        f"the key {key!r} cannot be {first['input']!r}: {message[0].lower()}{message[1:]}",
        where=where,
        remedy=_meaning(key),
    )


def _most_telling(error: ValidationError) -> Any:
    """Of the errors of a union's branches, the one about an unknown key if there is one."""
    return max(error.errors(include_url=False), key=lambda item: item["type"] in {"unexpected_keyword_argument"})


def _is_branch(part: object) -> bool:
    """Pydantic adds the name of a union's branch or validator to a location; users know only keys."""
    return (isinstance(part, str) and not part.isidentifier()) or part in {"int", "str", "float", "Candidate"}


def _fields_of(kind: Any) -> dict[str, Any]:
    return getattr(kind, "__pydantic_fields__", {})


def _resolve(key: str) -> tuple[dict[str, Any], Any, str]:
    """The keys that could stand at the end of a dotted key, the last field on its way, and the key of that."""
    fields, field, known = _fields_of(Params), None, list[str]()
    for part in filter(None, key.split(".")):
        if not part.isdigit():
            if part not in fields:  # an unknown key, or an entry of a mapping
                break
            field = fields[part]
            fields = _fields_of(Candidate if part == "candidates" else field.annotation)
        known.append(part)
    return fields, field, ".".join(known)


def _meaning(key: str) -> str | None:
    _, field, known = _resolve(key)
    return f"{known} is: {' '.join(field.description.split())}" if field is not None and field.description else None


def meaning_of(key: str) -> str:
    """What a dotted key means, in a line; empty for one that there is not."""
    return (_meaning(key) or "").removeprefix(f"{key} is: ")


def flatten(params: Params) -> dict[str, Any]:
    """All settings as ``section.key: value``, for reports and for comparing with dvc.yaml."""
    flat: dict[str, Any] = {}
    for name, value in dataclasses.asdict(params).items():
        if isinstance(value, dict):
            flat.update({f"{name}.{key}": item for key, item in value.items()})
        else:
            flat[name] = value
    return flat


def deciding(params: Params) -> dict[str, Any]:
    """The settings that can change a result, by name."""
    return {name: value for name, value in flatten(params).items() if name not in NO_RESULT}
