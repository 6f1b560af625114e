"""torchvision's data sets: every row read from files in the real format, fetched whole, and refused within seconds."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft.core.errors import DataError
from graft.data.sources.listing import SourceListing, SourceSpec
from graft.data.sources.registry import list_source
from graft.data.sources.torchvision_datasets import SPLITS
from graft.modalities.image.decode import decode
from tests.data.sources.torchvision_files import MAKERS, grey, idx, md5, mnist, numbers, rgb


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAFT_DATASETS", str(tmp_path / "sets"))
    monkeypatch.setenv("GRAFT_OFFLINE", "1")
    return tmp_path / "sets"


def find(name: str) -> SourceListing:
    return list_source(SourceSpec(f"torchvision:{name}", Path(), Path("/nonexistent")))


def test_every_row_has_a_maker() -> None:
    assert set(MAKERS) == set(SPLITS)


@pytest.mark.parametrize("name", SPLITS)
def test_every_set_is_read_with_its_labels_and_splits(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = MAKERS[name](home / name, monkeypatch)
    found = find(name)
    assert Counter((item.label, item.split) for item in found.samples) == wanted
    contents = {decode(item.file).tobytes() for item in found.samples}
    assert len(contents) == len(found.samples), "every sample is an image of its own"
    assert (found.watched, found.table) == (None, None)
    again = find(name)
    assert again.samples == found.samples


def test_a_set_is_also_found_where_torchvision_alone_would_have_put_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MAKERS["MNIST"](home, monkeypatch)
    assert len(find("MNIST").samples) == 10


@pytest.mark.parametrize(("name", "side"), [("MNIST", 28), ("CIFAR10", 32), ("STL10", 96)])
def test_pixels_are_those_of_the_arrays(name: str, side: int, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MAKERS[name](home / name, monkeypatch)
    samples = [item for item in find(name).samples if item.split == "train"]
    arrays = rgb("train", side) if side != 28 else np.repeat(grey("train", side)[..., None], 3, axis=3)
    for sample, array in zip(samples, arrays, strict=True):
        assert np.array_equal(np.asarray(decode(sample.file)), array)


def test_an_unknown_name_is_answered_with_the_nearest(home: Path) -> None:
    with pytest.raises(DataError) as caught:
        find("CIFAR01")
    assert "there is no data set 'CIFAR01'" in caught.value.what
    assert "did you mean 'CIFAR10'" in str(caught.value.remedy)
    with pytest.raises(DataError) as caught:
        find("mnist")
    assert "'MNIST'" in str(caught.value.remedy)


def test_offline_it_says_what_was_looked_for_where_and_how_to_get_it(home: Path) -> None:
    with pytest.raises(DataError) as caught:
        find("EMNIST")
    assert caught.value.message() == (
        "the data set EMNIST is not on this machine, and downloads are switched off (GRAFT_OFFLINE)\n"
        f"  where: looked in {home}/EMNIST and {home}\n"
        '  remedy: on a machine with a network run python -c "from torchvision.datasets import EMNIST; '
        "EMNIST('EMNIST', split='balanced', train=True, download=True)\" and copy the folder EMNIST into "
        f"{home}; or let GRAFT_DATASETS name the folder that holds it"
    )
    assert not home.exists()


@pytest.mark.parametrize("name", ["CIFAR10", "FER2013", "StanfordCars"])
def test_without_a_network_it_says_so_and_leaves_nothing(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRAFT_OFFLINE")
    # A proxy that nobody listens at is as good as no network.
    for scheme in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(DataError, match=f"torchvision cannot download the data set {name}: "):
        find(name)
    assert list(home.iterdir()) == []


def archived_mnist(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The four archives as they are published, where the message says to put them."""
    from graft.core.compat.torchvision import datasets

    mnist("MNIST", "0", "1")(tmp_path / "plain", monkeypatch)
    folder = home / "MNIST" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    resources = []
    for file in sorted((tmp_path / "plain" / "MNIST" / "raw").iterdir()):
        archive = folder / f"{file.name}.gz"
        archive.write_bytes(gzip.compress(file.read_bytes()))
        resources.append((archive.name, md5(archive)))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    return folder


def test_archives_put_there_by_hand_are_unpacked_without_a_network(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived_mnist(home, tmp_path, monkeypatch)
    monkeypatch.delenv("GRAFT_OFFLINE")
    monkeypatch.setattr("urllib.request.urlopen", None)
    assert len(find("MNIST").samples) == 10
    assert sorted(path.name for path in home.iterdir()) == ["MNIST", "png-1"]


def test_a_damaged_archive_is_refused_by_its_checksum_and_leaves_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graft.core.compat.torchvision import datasets

    folder = archived_mnist(home, tmp_path, monkeypatch)
    monkeypatch.delenv("GRAFT_OFFLINE")
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"something else"))
    before = sorted(home.rglob("*"))
    with pytest.raises(DataError) as caught:
        find("MNIST")
    assert caught.value.what.startswith("torchvision cannot download the data set MNIST: ")
    assert sorted(home.rglob("*")) == before


class Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
@pytest.mark.parametrize("changed", ["train_list", "test_list", "meta"])
def test_a_file_whose_checksum_differs_is_never_unpickled(
    name: str, changed: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graft.core.compat.torchvision import datasets

    MAKERS[name](home / name, monkeypatch)
    dataset_class = getattr(datasets, name)
    file = dataset_class.meta["filename"] if changed == "meta" else getattr(dataset_class, changed)[0][0]
    (home / name / dataset_class.base_folder / file).write_bytes(pickle.dumps(Attack(tmp_path / "owned")))
    with pytest.raises(DataError) as caught:
        find(name)
    assert f"what is there cannot be used: torchvision cannot read the data set {name}: " in caught.value.what
    assert "corrupted" in caught.value.what
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", sorted(SPLITS.keys() - {"CIFAR10", "CIFAR100"}))
def test_other_data_sets_unpickle_nothing(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MAKERS[name](home / name, monkeypatch)
    for reader in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, reader, None)
    assert find(name).samples


def test_images_are_written_whole_or_not_at_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MAKERS["MNIST"](home / "MNIST", monkeypatch)
    labels = home / "MNIST" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    whole = labels.read_bytes()
    labels.write_bytes(idx(np.array(numbers("test")[:-1], dtype=np.uint8)))
    with pytest.raises(DataError, match="torchvision cannot read the data set MNIST: "):
        find("MNIST")
    assert not (home / "png-1" / "MNIST").exists()
    assert list((home / "png-1").iterdir()) == []
    labels.write_bytes(whole)
    assert len(find("MNIST").samples) == 10
    # What was written is used from then on, whatever becomes of torchvision's files.
    shutil.rmtree(home / "MNIST")
    assert len(find("MNIST").samples) == 10


def test_the_same_files_give_the_same_pictures(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MAKERS["SVHN"](home / "SVHN", monkeypatch)

    def digest() -> str:
        return hashlib.sha256(b"".join(item.file.read_bytes() for item in find("SVHN").samples)).hexdigest()

    first = digest()
    shutil.rmtree(home / "png-1")
    assert digest() == first
