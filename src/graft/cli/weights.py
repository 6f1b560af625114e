"""`graft weights fetch`: download weights for use without a network."""

from __future__ import annotations

from collections.abc import Sequence

from graft.core.errors import ConfigError, GraftError, each
from graft.core.settings import Candidate


def fetch_weights(names: Sequence[str]) -> None:
    """Download weights that are not on this machine, and print for each file, size in MB, licence and SHA-256.

    Args:
        names: architectures as in params.yaml, or ``arch:weights``; ``pretrained`` weights by default.

    Raises:
        ConfigError: an unknown architecture; nothing is downloaded then.
        WeightsError: weights that cannot be had; the others are downloaded all the same.
    """
    candidates = [_candidate(name) for name in names]
    each(candidates, lambda candidate: print(_fetched(candidate), flush=True))


def _candidate(name: str) -> Candidate:
    from graft.models.zoo.registry import builder_for
    from graft.models.zoo.timm_builder import TIMM

    library = TIMM if name.startswith(TIMM) else ""
    arch, _, own = name.removeprefix(library).partition(":")
    try:
        builder_for(library + arch)
    except ConfigError as error:
        # It speaks of params.yaml, where names stand as a rule.
        raise ConfigError(error.what, where=name, remedy=error.remedy) from None
    return Candidate(library + arch, own or "pretrained")


def _fetched(candidate: Candidate) -> str:
    from graft.cli.zoo import licence_of
    from graft.core.files import sha256
    from graft.core.workspace import Workspace
    from graft.models.weights.locate import WeightsContext, locate_weights

    path = locate_weights(candidate, WeightsContext(Workspace.find().source_models, offline=False, seed=0))
    if path is None or not path.is_file():
        raise GraftError(
            f"{candidate.weights!r} are no weights that can be fetched",
            where=candidate.arch,
            remedy="leave it out, or write `pretrained`, `bundled` or one of torchvision's weights names",
        )
    size = path.stat().st_size / 1e6
    licence = licence_of(candidate.arch)
    return (
        f"{candidate.arch} ({candidate.weights})\n"
        f"  file:    {path}\n  size:    {size:.1f} MB\n  licence: {licence}\n  sha256:  {sha256(path)}"
    )
