"""`graft rank`: the candidates of params.yaml ranked on several data sets, in one table."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graft.metrics.formatting import counted

if TYPE_CHECKING:
    from graft.cli.ranking import Ranking
    from graft.metrics.scorer import Scorer
    from graft.selection.candidates import CandidateResult
    from graft.selection.failures import Failed


def rank_candidates(sources: Sequence[str], as_json: bool) -> None:
    """Probe the candidates of this folder's params.yaml on every data set, and print one table.

    Raises:
        ConfigError: there is no params.yaml here, or it cannot be used.
        DataError: a data set cannot be read or divided.
        GraftError: every candidate failed on a data set.
    """
    from graft.cli.ranking import Places, names, rank_on_all, to_json
    from graft.core.config import load_params
    from graft.core.determinism import make_deterministic
    from graft.core.workspace import Workspace
    from graft.metrics.scorer import scorer

    workspace = Workspace.find()
    params = load_params(workspace.params)
    make_deterministic(params.compute.threads)
    with tempfile.TemporaryDirectory() as scratch:
        places = Places(Path.cwd(), workspace.source_models, workspace.cache, Path(scratch))
        rankings = rank_on_all(sources, params, places, _tell)
    if as_json:
        print(
            json.dumps(
                to_json(rankings, names(params), scorer(params.metric)), indent=2, ensure_ascii=False, allow_nan=False
            )
        )
        return
    print("\n".join(lines(rankings, names(params), scorer(params.metric))))


def _tell(line: str) -> None:
    """Progress goes beside what is printed, which may be read by a program."""
    print(line, file=sys.stderr, flush=True)


def lines(rankings: Sequence[Ranking], named: Sequence[str], scorer: Scorer) -> list[str]:
    """The table for people: candidates by mean rank, best first; a star marks each data set's best."""
    from graft.cli.ranking import mean_ranks

    ranks = mean_ranks(rankings)
    order = sorted(range(len(named)), key=lambda place: (ranks[place], place))
    head = ["candidate", "mean rank", *(short_name(item.source) for item in rankings)]
    rows = [
        [
            named[place],
            f"{ranks[place]:.2f}",
            *(_cell(item.found[place], place == item.best, scorer) for item in rankings),
        ]
        for place in order
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    found = [
        "",
        f"Cross-validated {scorer.name} of a linear head on frozen features ± standard error; * is the best",
        "",
    ]
    found += ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    found.append("")
    for item in rankings:
        size = f"{counted(item.images, 'training image', 'training images')}, {item.classes} classes"
        found.append(f"best on {short_name(item.source)} ({size}): {named[item.best]}")
    found += [f"failed on {short_name(source)}: {named[place]}: {why}" for source, place, why in _failures(rankings)]
    return found


def short_name(source: str) -> str:
    """The end of a path, or what stands for data that is no path."""
    return Path(source).name or source


def _cell(item: CandidateResult | Failed, best: bool, scorer: Scorer) -> str:
    from graft.selection.best import standard_error
    from graft.selection.failures import Failed

    if isinstance(item, Failed):
        return "failed"
    return scorer.figure(item.probe.mean, standard_error(item.probe.fold_scores)) + (" *" if best else "")


def _failures(rankings: Sequence[Ranking]) -> list[tuple[str, int, str]]:
    from graft.selection.failures import Failed

    return [
        (item.source, place, found.reason)
        for item in rankings
        for place, found in enumerate(item.found)
        if isinstance(found, Failed)
    ]
