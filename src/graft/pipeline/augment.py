"""augment: check policies and domain, and draw a sheet of originals and variants, for a person to look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from graft.augmentation.auto_policy import AUTO, ENOUGH, SAMPLE, DetectedDomain, VisualTraits, detect_domain
from graft.augmentation.domains import DOMAINS, allowed_policies, check_domain, exceeds
from graft.augmentation.policy_config import PolicyConfig, as_yaml, build_policy, parse_policies
from graft.core.determinism import derive_seed, make_deterministic
from graft.core.errors import ConfigError
from graft.core.files import atomic_dir, write_json
from graft.core.packed_files import ImageFolder, open_folder
from graft.core.settings import Candidate, NamedPolicy, Params
from graft.core.workspace import Workspace
from graft.modalities.image.conversion import ELONGATED, depth_range, fits_to_try, usual_cut
from graft.modalities.image.decode import decode
from graft.modalities.image.preprocessing import Geometry
from graft.modalities.registry import find_modality
from graft.models.zoo.registry import default_candidates, library_of
from graft.pipeline.execution.runner import run_stage
from graft.reporting.figures.augmentation_preview import preview_sheet

NONE = "none"
# The sheet's own size, whatever the candidates' inputs: changing a candidate is no reason to draw it again.
_SIZE = 128
PREVIEW_IMAGES = 6


@dataclass(frozen=True)
class AugmentationPlan:
    """What training samples are and how they are varied.

    Attributes:
        policy: what training does.
        domain: what the samples are.
        why: the reason, for people.
        size: their median size; of images the shorter side in pixels.
        preview: what preview.json says besides.
        draw: writes pictures for people into a folder.
    """

    policy: PolicyConfig
    domain: str
    why: str
    size: float
    preview: Mapping[str, Any] = field(default_factory=dict)
    draw: Callable[[Path], None] = lambda folder: None


def run(params: Params, workspace: Workspace) -> None:
    """Read: data/splits.parquet, data/manifest.parquet, data/raw/. Write: preview.png, .json in reports/augmentation.

    policy.json holds what training depends on and nothing else, so that fine-tuning, which waits for it, runs again
    when it changes and only then: not for another domain that allows the same, and not for a larger sheet. allowed.json
    does the same for the search, which tries those policies that the domain allows, and candidates.json for selection.

    Raises:
        ConfigError: a policy, an option or the domain is unknown, the domain forbids what a policy does, or an
            architecture takes samples of another modality.
    """
    modality = find_modality(params.data.modality).name
    plan = PLANNERS.get(modality, _plan_nothing)(params, workspace)
    candidates = params.zoo.candidates or default_candidates(modality, plan.domain, plan.size)
    for candidate in candidates:
        _check_modality(candidate, modality)
    with atomic_dir(workspace.augmentation) as folder:
        plan.draw(folder)
        write_json(folder / "preview.json", {"domain": plan.domain, "why": plan.why, **plan.preview})
        write_json(folder / "policy.json", {"policy": plan.policy.as_json()})
        allowed = allowed_policies(plan.domain) if modality in PLANNERS else [NONE]
        write_json(folder / "allowed.json", {"allowed": allowed})
        write_json(folder / "candidates.json", {"candidates": [dataclasses.asdict(one) for one in candidates]})
    seen = f"; see {workspace.augmentation / 'preview.png'}" if plan.preview else ""
    print(f"augment: {as_yaml(plan.policy)}, domain {plan.domain} ({plan.why}){seen}")


def _check_modality(candidate: Candidate, modality: str) -> None:
    takes = library_of(candidate.arch).modality
    if takes != modality:
        raise ConfigError(
            f"{candidate.arch} takes {takes} samples, and the data's are {modality}",
            where="zoo.candidates",
            remedy="name an architecture for them, or write `auto`",
        )


def _plan_nothing(params: Params, workspace: Workspace) -> AugmentationPlan:
    """For samples that no policy varies."""
    why = f"there is no augmentation for {find_modality(params.data.modality).name} samples"
    if params.augment.policy not in [(NamedPolicy(AUTO),), (NamedPolicy(NONE),)]:
        raise ConfigError(why, where="augment.policy", remedy="write `auto` or `none`")
    policy = parse_policies(dataclasses.replace(params.augment, policy=(NamedPolicy(NONE),)))
    return AugmentationPlan(policy, "any", why, 0.0)


def _plan_images(params: Params, workspace: Workspace) -> AugmentationPlan:
    """By settings, or by a look at some of them; on request drawn as a sheet of originals and variants."""
    splits, raw = pd.read_parquet(workspace.splits), open_folder(workspace.raw)
    found, side = _found(params, splits, raw)
    own = params.augment.policy != (NamedPolicy(AUTO),)
    choice = parse_policies(params.augment if own else dataclasses.replace(params.augment, policy=(found.policy,)))
    # A policy that the user names is refused by a domain that the user names, and not by a guess.
    if not own or params.augment.domain != AUTO:
        check_domain(choice, found.domain)
    elif broken := exceeds(choice, DOMAINS[found.domain]):
        print(
            f"augment: {found.why}, and {as_yaml(choice)} changes their {' and '.join(broken)}: do labels stay right?"
        )
    if not params.augment.preview:
        return AugmentationPlan(choice, found.domain, found.why, side)
    drawn = sample(splits, PREVIEW_IMAGES, params.seed)
    views = _views(params, pd.read_parquet(workspace.manifest), splits)
    shown = {name: [geometry.load(raw / path) for path in drawn["path"]] for name, geometry in views.items()}
    says = "; ".join(pick.definition.says for pick in choice.policies)
    title = f"augmentation {as_yaml(choice)} at {_SIZE} px: {says}"

    def draw(folder: Path) -> None:
        policy = build_policy(choice, _SIZE)
        if policy.changes_anything:
            make_deterministic(params.compute.threads)
        preview_sheet(folder / "preview.png", title, policy, shown, drawn["label"].tolist(), params.seed)

    preview = {"says": says, "size": _SIZE, "views": list(views), "images": drawn["path"].tolist()}
    return AugmentationPlan(choice, found.domain, found.why, side, preview, draw)


# How samples are varied, by modality; others are not. To add one, add a row.
PLANNERS: Mapping[str, Callable[[Params, Workspace], AugmentationPlan]] = {"image": _plan_images}


def _found(params: Params, splits: pd.DataFrame, raw: ImageFolder) -> tuple[DetectedDomain, float]:
    """What the training images are, and their median shorter side in pixels."""
    shown = sample(splits, SAMPLE, params.seed)
    looks = [VisualTraits.of(decode(raw / path, least_side=ENOUGH)) for path in shown["path"]]
    side = float(np.median([look.side for look in looks]))
    return detect_domain(sorted(splits["label"].unique()), looks, params.augment.domain), side


def _views(params: Params, manifest: pd.DataFrame, splits: pd.DataFrame) -> dict[str, Geometry]:
    """How the originals are shown: whole where that is more than the network sees, and by each fit that is tried."""
    rows = manifest[manifest["path"].isin(splits.loc[splits["split"] == "train", "path"])]
    cut = usual_cut(rows)
    tried = fits_to_try(params.preprocess.fit, cut)
    whole = Geometry(_SIZE, 1.0, "bilinear", "pad", depth_range(rows, params.image.depth_scaling))
    views: dict[str, Geometry] = {fit: dataclasses.replace(whole, fit=fit) for fit in tried}
    return {"original": views["crop"]} if cut <= ELONGATED and tried == ("crop",) else {"whole": whole, **views}


def sample(splits: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """``count`` training images, the classes in turn, so that a small sheet shows many classes."""
    train = splits[splits["split"] == "train"]
    keys = train["path"].map(lambda path: derive_seed(seed, "preview", path))
    train = train.assign(key=keys).sort_values(["label", "key"])
    turn = train.groupby("label").cumcount()
    return train.assign(turn=turn).sort_values(["turn", "label"]).head(count)[["path", "label"]]


if __name__ == "__main__":
    raise SystemExit(run_stage("augment", run))
