"""augment: check policies and domain, and draw a sheet of originals and variants, for a person to look at."""

from __future__ import annotations

import pandas as pd

from graft.augment.choice import as_yaml, choose
from graft.augment.domains import allowed, check_domain
from graft.augment.policies import build_policy
from graft.augment.preview import preview_sheet
from graft.determinism import derive_seed
from graft.files import whole_folder, write_json
from graft.images.packed import open_raw
from graft.settings import Params
from graft.stages.runner import run_stage
from graft.workspace import Workspace
from graft.zoo.preprocessing import Geometry

# The sheet's own size, whatever the candidates' inputs: changing a candidate is no reason to draw it again.
_SIZE = 128


def run(params: Params, workspace: Workspace) -> None:
    """Read: data/splits.parquet, data/raw/. Write: preview.png and three .json files into reports/augmentation.

    policy.json holds what training depends on and nothing else, so that fine-tuning, which waits for it, runs again
    when it changes and only then: not for another domain that allows the same, and not for a larger sheet. allowed.json
    does the same for the search, which tries those policies that the domain allows.

    Raises:
        ConfigError: a policy, an option or the domain is unknown, or the domain forbids what a policy does.
    """
    choice = choose(params.augment)
    check_domain(choice, params.augment.domain)
    drawn = sample(pd.read_parquet(workspace.splits), params.augment.preview_images, params.seed)
    geometry = Geometry(_SIZE, 1.0, "bilinear")
    raw = open_raw(workspace.raw)
    images = [geometry.load(raw / path) for path in drawn["path"]]
    says = "; ".join(pick.recipe.says for pick in choice.picks)
    title = f"augmentation {as_yaml(choice)} at {_SIZE} px: {says}"
    policy = build_policy(choice, _SIZE)
    with whole_folder(workspace.augmentation) as folder:
        preview_sheet(folder / "preview.png", title, policy, images, drawn["label"].tolist(), params.seed)
        write_json(
            folder / "preview.json",
            {"domain": params.augment.domain, "says": says, "size": _SIZE, "images": drawn["path"].tolist()},
        )
        write_json(folder / "policy.json", {"policy": choice.as_json()})
        write_json(folder / "allowed.json", {"allowed": allowed(params.augment.domain)})
    print(f"augment: {as_yaml(choice)}, domain {params.augment.domain}; see {workspace.augmentation / 'preview.png'}")


def sample(splits: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """``count`` training images, the classes in turn, so that a small sheet shows many classes."""
    train = splits[splits["split"] == "train"]
    keys = train["path"].map(lambda path: derive_seed(seed, "preview", path))
    train = train.assign(key=keys).sort_values(["label", "key"])
    turn = train.groupby("label").cumcount()
    return train.assign(turn=turn).sort_values(["turn", "label"]).head(count)[["path", "label"]]


if __name__ == "__main__":
    raise SystemExit(run_stage("augment", run, uses_torch=True))
