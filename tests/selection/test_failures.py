"""A candidate that fails is marked with the reason in one line, and the others go on; only all end the stage."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from graft.core.compat.torchvision import models
from graft.core.errors import ConfigError, DataError, GraftError, TrainingError
from graft.core.settings import Params
from graft.features.cache import ArrayCache
from graft.features.image_cache import ImageSet
from graft.pipeline.inputs.selection import selection_inputs
from graft.selection.failures import attempt, reason_of
from graft.selection.inputs import TrainSet
from graft.selection.report.leaderboard import table
from graft.selection.selection import run_selection

from .conftest import SMALL


def test_a_reason_is_one_line() -> None:
    assert reason_of(MemoryError("unable to allocate\n2 GiB")) == "out of memory, it asked for 2 GiB more"
    assert reason_of(ValueError("two\n  lines")) == "ValueError: two lines"
    assert reason_of(TrainingError("no number", where="block 3", remedy="none")) == "no number (block 3)"
    assert len(reason_of(RuntimeError("x" * 999))) == 200


def test_what_would_befall_all_is_raised() -> None:
    for error in (DataError("an image"), OSError(28, "disk full"), KeyboardInterrupt(), AssertionError("a fault")):

        def work(error: BaseException = error) -> object:
            raise error

        with pytest.raises(type(error)):
            attempt(work, "probing")


def _nan_weights(folder: Path) -> Path:
    state = models.get_model("shufflenet_v2_x0_5", weights=None).state_dict()
    state["conv1.0.weight"].fill_(float("nan"))
    save_file(state, folder / "broken.safetensors")
    return folder / "broken.safetensors"


def test_failed_candidates_are_marked_and_the_others_go_on(
    task: TrainSet, store: ArrayCache, asked: Callable[..., Params], tmp_path: Path
) -> None:
    """Weights that are not numbers, a block that is not there, a file that is missing; and one that works."""
    params = asked(
        {**SMALL, "weights": str(_nan_weights(tmp_path))},
        {**SMALL, "depth": 99},
        {**SMALL, "weights": "missing.safetensors"},
        SMALL,
    )
    said: list[str] = []
    contest = run_selection(selection_inputs(task, params, tmp_path, store), said.append)
    assert contest.winner.candidate == params.zoo.candidates[3]
    reasons = [item.reason for item in contest.failed]
    assert reasons[0].startswith("probing: the network's features are not finite for 24 of 24 images (depth 0 of 3)")
    assert reasons[1].startswith("probing: there is no block 99 to cut after")
    assert reasons[2].startswith("probing: the weights file is not there")
    rows = table(contest.results, contest.failed, contest.controls)
    assert rows["name"].tolist()[1:4] == [
        "shufflenet_v2_x0_5 (broken.safetensors, 32 px)",
        "shufflenet_v2_x0_5 (none, 32 px)",
        "shufflenet_v2_x0_5 (missing.safetensors, 32 px)",
    ]
    assert rows["why"].tolist()[1:4] == [f"failed {reason}" for reason in reasons]
    assert rows["score"][1:4].isna().all() and rows["rank"][1:4].isna().all()
    assert sum("failed probing" in line for line in said) == 3


def test_all_failed_is_refused_with_the_first_reasons(
    task: TrainSet, store: ArrayCache, asked: Callable[..., Params], tmp_path: Path
) -> None:
    params = asked(*({**SMALL, "depth": depth} for depth in (97, 98, 99, 100)))
    with pytest.raises(GraftError) as caught:
        run_selection(selection_inputs(task, params, tmp_path, store), lambda line: None)
    assert "every candidate failed:" in str(caught.value)
    assert [str(depth) in str(caught.value) for depth in (97, 98, 99, 100)] == [True, True, True, False]
    assert "and 1 more" in str(caught.value)


def test_a_finalist_that_fails_makes_room_for_the_next(
    task: TrainSet, store: ArrayCache, asked: Callable[..., Params], tmp_path: Path
) -> None:
    """The best by probe loses its weights before it is trained: somebody tidied up."""
    weights = tmp_path / "gone.safetensors"
    save_file(models.get_model("shufflenet_v2_x0_5", weights=None).state_dict(), weights)
    params = asked({**SMALL, "weights": str(weights), "depth": 0}, SMALL)
    contest = run_selection(
        selection_inputs(task, params, tmp_path, store), lambda line: weights.unlink(missing_ok=True)
    )
    assert [item.reason for item in contest.failed] == [f"training: the weights file is not there ({weights})"]
    before = contest.failed[0].before
    assert before is not None and before.probe.mean >= contest.winner.probe.mean
    assert contest.winner.candidate == params.zoo.candidates[1] and contest.winner.finetuned
    row = table(contest.results, contest.failed).iloc[1]
    assert row["probe_mean"] == pytest.approx(before.probe.mean, abs=1e-4) and str(row["score"]) == "nan"


def test_an_image_that_cannot_be_read_ends_the_selection(
    store: ArrayCache, asked: Callable[..., Params], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_text("no image")
    images = ImageSet(tmp_path, ("a.png", "a.png"), ("0", "1"))
    data = TrainSet(images, np.array([0, 1]), np.array([0, 1]), ("a", "b"))
    with pytest.raises(DataError, match=r"a\.png"):
        run_selection(selection_inputs(data, asked(SMALL), tmp_path, store), lambda line: None)


def test_a_mistake_in_the_limits_is_no_candidate_s_failure() -> None:
    with pytest.raises(ConfigError):
        from graft.core.config import parse_params

        parse_params({"zoo": {"candidates": ["resnet18"]}, "select": {"max_params_m": -1}}, "test")


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
from graft.core.config import parse_params
from graft.features.image_cache import ImageSet
from graft.features.cache import ArrayCache
from graft.core.files import sha256
from graft.pipeline.inputs.selection import selection_inputs
from graft.selection.inputs import TrainSet
from graft.selection.selection import run_selection
from graft.core.compat.torchvision import models
import torch, sklearn.linear_model, scipy.stats

torch.set_num_threads(1)
root = Path(sys.argv[1])
paths = tuple(sorted(path.name for path in root.glob("*.png")))
number = np.arange(len(paths))
data = TrainSet(
    ImageSet(root, paths, tuple(sha256(root / path) for path in paths)), number % 3, number // 3 % 2, ("r", "g", "b")
)
small = {"arch": "shufflenet_v2_x0_5", "weights": "none", "size": 32}
large = {"arch": "vgg16", "weights": "none", "size": 32}
train = {"augment": {"policy": "none"}, "train": {"epochs": 1}}
params = parse_params({"zoo": {"candidates": [large, small]}, "select": {"folds": 2}, **train}, "test")
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + 400_000_000, used + 400_000_000))
contest = run_selection(selection_inputs(data, params, root, ArrayCache(root / "cache")))
print("WON", contest.winner.candidate.arch, "|", contest.failed[0].reason)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_out_of_memory_for_real(task: TrainSet) -> None:
    """VGG-16's first linear layer takes 411 MB of the 400 MB that this process may still have."""
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, str(task.images.root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WON shufflenet_v2_x0_5 | probing: out of memory, it asked for 0.41 GB more" in done.stdout
