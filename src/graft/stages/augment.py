"""augment: check policies and domain, and draw a sheet of originals and variants, for a person to look at."""

from __future__ import annotations

import dataclasses

import pandas as pd

from graft.augment.choice import as_yaml, choose
from graft.augment.domains import allowed, check_domain
from graft.augment.policies import build_policy
from graft.augment.preview import preview_sheet
from graft.determinism import derive_seed
from graft.files import whole_folder, write_json
from graft.images.conversion import ELONGATED, depth_range, fits_to_try, usual_cut
from graft.images.packed import open_raw
from graft.settings import Params
from graft.stages.runner import run_stage
from graft.workspace import Workspace
from graft.zoo.preprocessing import Geometry

# The sheet's own size, whatever the candidates' inputs: changing a candidate is no reason to draw it again.
_SIZE = 128


def run(params: Params, workspace: Workspace) -> None:
    """Read: data/splits.parquet, data/manifest.parquet, data/raw/. Write: preview.png, .json in reports/augmentation.

    policy.json holds what training depends on and nothing else, so that fine-tuning, which waits for it, runs again
    when it changes and only then: not for another domain that allows the same, and not for a larger sheet. allowed.json
    does the same for the search, which tries those policies that the domain allows.

    Raises:
        ConfigError: a policy, an option or the domain is unknown, or the domain forbids what a policy does.
    """
    choice = choose(params.augment)
    check_domain(choice, params.augment.domain)
    drawn = sample(pd.read_parquet(workspace.splits), params.augment.preview_images, params.seed)
    views = _views(params, workspace)
    raw = open_raw(workspace.raw)
    shown = {name: [geometry.load(raw / path) for path in drawn["path"]] for name, geometry in views.items()}
    says = "; ".join(pick.recipe.says for pick in choice.picks)
    title = f"augmentation {as_yaml(choice)} at {_SIZE} px: {says}"
    policy = build_policy(choice, _SIZE)
    with whole_folder(workspace.augmentation) as folder:
        preview_sheet(folder / "preview.png", title, policy, shown, drawn["label"].tolist(), params.seed)
        write_json(
            folder / "preview.json",
            {
                "domain": params.augment.domain,
                "says": says,
                "size": _SIZE,
                "views": list(views),
                "images": drawn["path"].tolist(),
            },
        )
        write_json(folder / "policy.json", {"policy": choice.as_json()})
        write_json(folder / "allowed.json", {"allowed": allowed(params.augment.domain)})
    print(f"augment: {as_yaml(choice)}, domain {params.augment.domain}; see {workspace.augmentation / 'preview.png'}")


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
