"""torch.compile: the same training by other kernels, taken only where a trial finds them faster."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from graft.errors import ConfigError
from graft.settings import Compute
from graft.train import trial
from graft.train.compiling import as_run, require_compiler, run_once
from graft.train.devices import fabric_for
from graft.train.inputs import Kept
from graft.train.loop import Lesson, run_stage
from graft.train.plan import Stage
from graft.train.precision import Mode, plain
from graft.train.trial import Ahead, Trial, choose_mode
from graft.zoo.network import Network
from tests.train.small import COUNT, LABELS, SETTINGS, task, tiny

CPU = torch.device("cpu")
COMPILED = dataclasses.replace(plain(1), compiled=True)
# Raised by torch's own modules when it compiles for the first time.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script")


@pytest.fixture(autouse=True)
def compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No kernels of an earlier test or run are found."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def ahead(epochs: int = 1) -> Ahead:
    return Ahead(tiny(), 2, 32, images=COUNT, epochs=epochs, batch=COUNT)


def test_without_a_compiler_it_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError) as caught:
        choose_mode(ahead(), Compute(compile=True), CPU, tmp_path, lambda precision: fabric_for("cpu", precision))
    assert caught.value.message() == (
        "networks are to be compiled, and there is no C++ compiler 'no-such-compiler' here\n"
        "  where: compute.compile\n"
        "  remedy: install it, name another one in the variable CXX, or set compute.compile: false"
    )
    monkeypatch.setenv("CXX", "true")
    require_compiler()


def test_what_is_over_soon_is_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "true")
    given = Compute(compile=True, precision="fp32", threads=1)
    assert choose_mode(ahead(), given, CPU, tmp_path, lambda precision: fabric_for("cpu", precision)) == plain(1)
    assert capsys.readouterr().out == "not compiled: the training is over before compiling would pay\n"


@pytest.mark.parametrize(("eager", "compiled", "taken"), [(10.0, 5.0, COMPILED), (10.0, 9.9, plain(1))])
def test_compiled_is_taken_only_where_it_is_clearly_faster(
    eager: float, compiled: float, taken: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compared is the mode that was taken without, and the same compiled."""
    monkeypatch.setenv("CXX", "true")
    monkeypatch.setattr(trial, "WORTH_A_TRIAL", 0.0)
    monkeypatch.setattr(
        trial,
        "try_modes",
        lambda *given: Trial(((plain(1), eager), *(((COMPILED, compiled),) if given[3][1:] else ()))),
    )
    given = Compute(compile=True, precision="fp32", threads=1)
    assert choose_mode(ahead(), given, CPU, tmp_path, lambda precision: fabric_for("cpu", precision)) == taken


def test_what_cannot_be_compiled_is_said_in_one_line_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise RuntimeError("backend='inductor' raised:\nCppCompileError: a page of it")

    assert run_once(fails, COMPILED) is False
    said = capsys.readouterr().err
    assert said == (
        "warning: torch.compile cannot do this network, which is trained without: backend='inductor' raised:\n"
    )
    with pytest.raises(RuntimeError):
        run_once(fails, plain(1))


def test_only_a_compiled_mode_wraps_the_network() -> None:
    network = tiny()
    assert as_run(network, None) is network and as_run(network, plain(1)) is network
    assert as_run(network, COMPILED) is not network


def last_block(mode: Mode | None, folder: Path) -> Network:
    """The last block and the head, trained; dropout aside, which draws otherwise when it is compiled."""
    network, what = tiny(), task(folder)
    network.neck[1] = torch.nn.Identity()
    inputs = Kept(what.extractor.activations(network, 3, what.rows))
    lesson = Lesson(inputs, torch.from_numpy(LABELS))
    settings = dataclasses.replace(SETTINGS, batch_size=COUNT)
    # Batch statistics would take the convolution's bias out again; AdamW makes whole steps of the rounding left over.
    stage = Stage("last block", 3, 3, 0.01, 0.01, fresh_statistics=False)
    run_stage(network, stage, lesson, settings, 0, fabric_for("cpu"), mode=mode)
    return network


@pytest.mark.skipif(" " in torch.__file__, reason="torch gives the linker its own folder without quotes")
@pytest.mark.slow
def test_compiled_training_is_training(tmp_path: Path) -> None:
    """By torch's own compiler: the weights are those of plain training within rounding, under the same names."""
    try:
        require_compiler()
    except ConfigError as error:
        pytest.skip(error.what)
    plainly = last_block(None, tmp_path / "plain").state_dict()
    compiled = last_block(COMPILED, tmp_path / "compiled").state_dict()
    assert list(compiled) == list(plainly)
    for name, value in plainly.items():
        torch.testing.assert_close(compiled[name], value, rtol=0, atol=1e-4)
    assert not torch.equal(plainly["blocks.3.0.weight"], tiny().state_dict()["blocks.3.0.weight"])


@pytest.mark.slow
def test_a_compiler_that_fails_costs_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch._inductor.config as inductor

    with inductor.patch({"cpp.cxx": ("false",), "fx_graph_cache": False, "compile_threads": 1}):
        found = trial.try_modes(
            tiny().ending(3), torch.randn(4, 16, 4, 4), 3, [plain(1), COMPILED], lambda p: fabric_for("cpu", p)
        )
    assert [mode for mode, _ in found.milliseconds] == [plain(1)] and found.chosen == plain(1)
    assert "warning: torch.compile cannot do this network, which is trained without: " in capsys.readouterr().err
