"""A device that is not there is the user's to mend, and is said in those words."""

from __future__ import annotations

import pytest
import torch

from graft.core.errors import ConfigError
from graft.training.compute.devices import fabric_for


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError) as error:
        fabric_for(kind)
    assert error.value.message().startswith(f"there is no {kind!r} here: torch {torch.__version__} can use 0 devices")
    assert "\n  where: compute.device\n  remedy: set compute.device: auto" in error.value.message()


def test_of_several_gpus_each_can_be_named_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"there is no 'cuda:2' here: torch .* can use 2 devices of that kind"):
        fabric_for("cuda:2")


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_what_is_there_is_taken(name: str) -> None:
    assert fabric_for(name).device.type in {"cpu", "cuda", "mps"}
