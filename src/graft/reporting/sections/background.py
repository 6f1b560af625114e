"""How the model came about: selection, training, cost, data, method, settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from graft.evaluation.cost import ROUNDS
from graft.metrics.formatting import cell, counted, megabytes, metric_name, milliseconds, number
from graft.reporting.blocks import Block, Bullets, Column, Details, FactList, Heading, Row, Table, Text, columns
from graft.reporting.sections.leaderboard import RULES, leaderboard_table, why_chosen
from graft.reporting.sections.plan import plan

if TYPE_CHECKING:
    from graft.evaluation.evaluation import Evaluation
    from graft.inference.artifact import Artifact
    from graft.reporting.context import ReportContext


# How classifiers are compared.
_COMPARED = (
    "Transfer, and every other comparison of two models: McNemar's exact test on the test images that only one of "
    "them names rightly, with the 95% interval of the accuracy difference that belongs to it (Fay and Lumbard "
    "2021): “helps” if it lies above zero, “hurts” if below, else “undecided”. Groups count once.",
    "The interval covers the choice of test images. That of training images and of the training's seed is covered "
    "where train.control_seeds asks for a comparison over folds and seeds (corrected resampled t, Nadeau and "
    "Bengio 2003); then both must agree. Without a control the verdict goes by a linear head on pretrained and "
    "on random features, over the folds.",
    "Averages over classes go over the classes that have test images.",
)


def selection(context: ReportContext) -> list[Block]:
    """The leaderboard, why its winner was chosen, and the pictures of the selection."""
    board = context.leaderboard
    if board is None:
        absent = "There is no leaderboard: reports/selection/leaderboard.csv was not written."
        return [Text(absent, "muted small"), *context.selection]
    table, more = leaderboard_table(board, context.evaluation.held_out.task.metrics)
    rule = RULES[context.settings.get("select.rule", "accurate")]
    note = (
        "Scores here are means over cross-validation folds of the training images. Test images took no part. The rule: "
        f"{rule}. SE is the standard error of a mean by itself. Times are those of the machine that selected, from a "
        f"normalised image to its logits. leaderboard.csv holds more of each candidate.{more}"
    )
    blocks: list[Block] = [Text(why_chosen(board), "note"), Text(note, "muted small"), table]
    if context.agreement:
        blocks += [Heading("Would a cheaper score have chosen the same?"), Bullets(tuple(context.agreement))]
    return [*blocks, *context.selection]


def training(context: ReportContext) -> list[Block]:
    """What was planned and what it took, and the learning curves."""
    return [*plan(context), *context.training]


def cost(context: ReportContext) -> list[Block]:
    """What a prediction costs, and how that was measured."""
    found = context.evaluation.cost
    memory = found.peak_memory_mb
    facts = (
        ("Time per image, median", milliseconds(found.latency_ms)),
        ("Time per image, 95% under", milliseconds(found.latency_p95_ms)),
        (f"Images a second, batches of {found.batch}", number(round(found.images_per_s))),
        ("Time to load", milliseconds(found.load_ms)),
        ("Peak memory", f"not measured: {found.reason}" if memory is None else megabytes(memory)),
        ("model.safetensors", megabytes(found.size_mb)),
        ("Parameters", f"{found.parameters:,}"),
        ("GMACs per image", f"{found.gmacs:.3g}"),
    )
    note = (
        "Time of one image: from the encoded file in memory to probabilities (decoding, preprocessing, forward pass), "
        f"{counted(found.runs, 'run', 'runs')} after warm-up, the best of {ROUNDS} rounds, batch of 1, device "
        f"{found.device}, {counted(found.threads, 'CPU thread', 'CPU threads')}. It holds for this machine only. Peak "
        "memory is that of a whole process that loads the model and answers for single images. A GMAC is a billion "
        "multiplications with an addition. 1 MB is 1,000,000 bytes."
    )
    return [FactList(facts), Text(note, "muted small")]


def data(context: ReportContext) -> list[Block]:
    """How many images there are, what was left out, and whether training and test are apart."""
    held_out, excluded = context.evaluation.held_out, context.excluded
    train, test = held_out.n_train, held_out.n_test
    facts = (
        ("Classes", f"{len(held_out.classes):,}"),
        ("Training images", f"{int(train.sum()):,}"),
        ("Training images per class", _range(int(train.min()), int(train.max()))),
        ("Test images", f"{len(held_out.labels):,}"),
        ("Test images per class", _range(int(test.min()), int(test.max()))),
        ("Left out", "not known" if excluded is None else f"{excluded:,}"),
    )
    return [FactList(facts), Text(data_note(context.evaluation), "muted small")]


def data_note(found: Evaluation) -> str:
    """What was left out, and whether the two sides are apart; the latter is checked here and not taken on trust."""
    straddling = found.held_out.straddling
    apart = "Near duplicates form groups, and no group has images on both sides."
    if straddling:
        apart = (
            f"Take care: {counted(straddling, 'group', 'groups')} of near duplicates or related images have images on "
            "both sides, so some test images are not unseen and the figures flatter."
        )
    return (
        "Left out are images that were taken in but failed validation (undecodable files, say). Counts of every class "
        f"stand in the table under Class by class. {apart}"
    )


def method(context: ReportContext) -> list[Block]:
    """Every metric with its interval, and how the figures came about."""
    found = context.evaluation
    drawn, n = found.resampling, len(found.held_out.labels)
    grouped = "images" if drawn.count == n else f"{drawn.count:,} groups of images that hang together (near duplicates)"
    lines = (
        "Test images took no part in choosing, tuning or stopping: those steps saw training images only.",
        f"Intervals: percentile bootstrap over test {grouped}, {drawn.samples:,} resamples, seed {drawn.seed}; where "
        "nothing varies (all right, say), an upper limit of Wilson's kind takes its place.",
        *(_COMPARED if found.held_out.task.categorical else ()),
        "Every image passed through the preprocessing stored with the model, the same that serving uses.",
    )
    return [metrics_table(found), Heading("Method"), Bullets(lines)]


def metrics_table(found: Evaluation) -> Table:
    """Every metric, with its interval, direction, range and meaning."""
    rows = []
    for name, metric in found.held_out.task.metrics.rows.items():
        score, band = found.scores[name], found.intervals.get(name)
        value = "–" if score.value is None else f"{score.value:.4f}"
        spread = "–" if band is None else f"{band.low:.4f} to {band.high:.4f}"
        meaning = metric.meaning if score.reason is None else f"{metric.meaning}. Not computed: {score.reason}"
        limits = f"{number(metric.low)} to {number(metric.high)}".replace("-", "−")
        rows.append(Row((metric_name(name), value, spread, metric.better, limits), note=meaning))
    head = (Column("metric"), *columns(numbers="value,95% interval"), Column("better"), Column("range"))
    return Table("All metrics", head, tuple(rows))


def settings(context: ReportContext) -> list[Block]:
    """What the network is and what it came from, and every setting."""
    rows = tuple(Row((name, _setting(value))) for name, value in context.settings.items())
    table = Table("Settings", (Column("setting"), Column("value", words=True)), rows, tall=True)
    return [FactList(_model_facts(context.artifact)), Details("All settings of params.yaml", table)]


def _model_facts(artifact: Artifact) -> tuple[tuple[str, str], ...]:
    plain = {name: value for name, value in artifact.provenance.items() if isinstance(value, (str, int, float))}
    return (
        ("Network", artifact.arch),
        ("Started from", artifact.weights),
        ("Cut", "not cut" if artifact.depth is None else f"after block {artifact.depth} (counted from 0)"),
        ("Input", artifact.preprocessing.describe()),
        ("sha256 of the weights", _short(artifact.sha256)),
        *((name.replace("_", " "), _short(cell(value))) for name, value in plain.items()),
    )


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _short(text: str) -> str:
    """A hash by its beginning."""
    return text if len(text) < 40 else f"{text[:16]}…"


def _setting(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
