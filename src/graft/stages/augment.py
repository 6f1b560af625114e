"""augment: check the policy's name and draw a sheet of originals and variants, for a person to look at."""

from __future__ import annotations

import pandas as pd

from graft.augment.policies import POLICIES, build_policy
from graft.augment.preview import preview_sheet
from graft.config import Params
from graft.determinism import derive_seed
from graft.files import write_json
from graft.stages.runner import run_stage
from graft.workspace import Workspace
from graft.zoo.preprocessing import Geometry

# The sheet's own size, whatever the candidates' inputs: changing a candidate is no reason to draw it again.
_SIZE = 128


def run(params: Params, workspace: Workspace) -> None:
    """Read: data/splits.parquet, data/raw/. Write: reports/augmentation/preview.png and policy.json."""
    name = params.augment.policy
    policy = build_policy(name, _SIZE)
    chosen = sample(pd.read_parquet(workspace.splits), params.augment.preview_images, params.seed)
    geometry = Geometry(_SIZE, 1.0, "bilinear")
    images = [geometry.load(workspace.raw / path) for path in chosen["path"]]
    title = f"augmentation policy {name!r} at {_SIZE} px: {POLICIES[name].says}"
    preview_sheet(workspace.augmentation / "preview.png", title, policy, images, chosen["label"].tolist(), params.seed)
    write_json(
        workspace.augmentation / "policy.json",
        {"policy": name, "says": POLICIES[name].says, "size": _SIZE, "images": chosen["path"].tolist()},
    )
    print(f"augment: policy {name!r}; see {workspace.augmentation / 'preview.png'}")


def sample(splits: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """``count`` training images, the classes in turn, so that a small sheet shows many classes."""
    train = splits[splits["split"] == "train"]
    keys = train["path"].map(lambda path: derive_seed(seed, "preview", path))
    train = train.assign(key=keys).sort_values(["label", "key"])
    turn = train.groupby("label").cumcount()
    return train.assign(turn=turn).sort_values(["turn", "label"]).head(count)[["path", "label"]]


if __name__ == "__main__":
    raise SystemExit(run_stage("augment", run, uses_torch=True))
