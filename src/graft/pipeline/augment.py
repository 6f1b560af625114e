"""augment: check policies and domain, and draw a sheet of originals and variants, for a person to look at."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from graft.augmentation.auto_policy import AUTO, ENOUGH, SAMPLE, DetectedDomain, VisualTraits, detect_domain
from graft.augmentation.domains import DOMAINS, allowed_policies, check_domain, exceeds
from graft.augmentation.policies import build_policy
from graft.augmentation.policy_config import as_yaml, parse_policies
from graft.augmentation.preview import preview_sheet
from graft.core.determinism import derive_seed
from graft.core.files import atomic_dir, write_json
from graft.core.packed_files import ImageFolder, open_folder
from graft.core.settings import NamedPolicy, Params
from graft.core.workspace import Workspace
from graft.modalities.image.conversion import ELONGATED, depth_range, fits_to_try, usual_cut
from graft.modalities.image.decode import decode
from graft.models.preprocessing import Geometry
from graft.models.zoo.default_candidates import default_candidates
from graft.pipeline.execution.runner import run_stage

# The sheet's own size, whatever the candidates' inputs: changing a candidate is no reason to draw it again.
_SIZE = 128
PREVIEW_IMAGES = 6


def run(params: Params, workspace: Workspace) -> None:
    """Read: data/splits.parquet, data/manifest.parquet, data/raw/. Write: preview.png, .json in reports/augmentation.

    policy.json holds what training depends on and nothing else, so that fine-tuning, which waits for it, runs again
    when it changes and only then: not for another domain that allows the same, and not for a larger sheet. allowed.json
    does the same for the search, which tries those policies that the domain allows, and candidates.json for selection.

    Raises:
        ConfigError: a policy, an option or the domain is unknown, or the domain forbids what a policy does.
    """
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
    drawn = sample(splits, PREVIEW_IMAGES, params.seed)
    views = _views(params, workspace)
    shown = {name: [geometry.load(raw / path) for path in drawn["path"]] for name, geometry in views.items()}
    says = "; ".join(pick.definition.says for pick in choice.policies)
    title = f"augmentation {as_yaml(choice)} at {_SIZE} px: {says}"
    policy = build_policy(choice, _SIZE)
    with atomic_dir(workspace.augmentation) as folder:
        preview_sheet(folder / "preview.png", title, policy, shown, drawn["label"].tolist(), params.seed)
        write_json(
            folder / "preview.json",
            {
                "domain": found.domain,
                "why": found.why,
                "says": says,
                "size": _SIZE,
                "views": list(views),
                "images": drawn["path"].tolist(),
            },
        )
        write_json(folder / "policy.json", {"policy": choice.as_json()})
        write_json(folder / "allowed.json", {"allowed": allowed_policies(found.domain)})
        candidates = params.zoo.candidates or default_candidates(found.domain, side)
        write_json(folder / "candidates.json", {"candidates": [dataclasses.asdict(one) for one in candidates]})
    print(
        f"augment: {as_yaml(choice)}, domain {found.domain} ({found.why}); see {workspace.augmentation / 'preview.png'}"
    )


def _found(params: Params, splits: pd.DataFrame, raw: ImageFolder) -> tuple[DetectedDomain, float]:
    """What the training images are, and their median shorter side in pixels."""
    shown = sample(splits, SAMPLE, params.seed)
    looks = [VisualTraits.of(decode(raw / path, least_side=ENOUGH)) for path in shown["path"]]
    side = float(np.median([look.side for look in looks]))
    return detect_domain(sorted(splits["label"].unique()), looks, params.augment.domain), side


def _views(params: Params, workspace: Workspace) -> dict[str, Geometry]:
    """How the originals are shown: whole where that is more than the network sees, and by each fit that is tried."""
    manifest = pd.read_parquet(workspace.manifest)
    splits = pd.read_parquet(workspace.splits)
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
    raise SystemExit(run_stage("augment", run, uses_torch=True))
