"""The first screen: headline figures, what the model is for, the comparison with control and production model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graft.evaluation.compare.production import in_words
from graft.evaluation.compare.transfer import BY_PROBE
from graft.evaluation.evaluation import ClassifierEvaluation
from graft.metrics.formatting import (
    cell,
    counted,
    interval,
    megabytes,
    metric_name,
    millions,
    milliseconds,
    percent,
    point_interval,
    points,
)
from graft.reporting.blocks import Badge, Block, Bullets, Column, Figure, Heading, Pair, Row, Table, Text, columns
from graft.selection.evidence import EvidenceRow

if TYPE_CHECKING:
    from graft.evaluation.compare.majority import Majority
    from graft.evaluation.compare.transfer import TransferComparison
    from graft.evaluation.evaluation import Evaluation
    from graft.reporting.context import ReportContext
    from graft.stats.bootstrap import Interval

# Classes that a sentence names.
_MOST_NAMED = 12


@dataclass(frozen=True)
class Tile:
    """A headline figure; ``band`` is its interval as (left, width) in percent of a scale from 0 to 100%."""

    name: str
    value: str
    note: str
    band: tuple[float, float] | None = None


def title(found: Evaluation) -> str:
    """The verdict on the model in one sentence."""
    images = counted(len(found.held_out.labels), "unseen image", "unseen images")
    if isinstance(found, ClassifierEvaluation):
        return f"Right on {percent(found.scores['accuracy'].value)} of {images}"
    name, score = next(iter(found.scores.items()))
    return f"{metric_name(name)} {cell(score.value)} on {images}"


def lead(found: Evaluation) -> str:
    """The same with its interval, what chance gives, the verdict on transfer, and the price."""
    price = f"One image takes {milliseconds(found.cost.latency_ms)} on this machine."
    if not isinstance(found, ClassifierEvaluation):
        return price
    k = len(found.held_out.classes)
    bounds = interval(found.intervals["accuracy"]).replace(" to ", " and ")
    return (
        f"The model tells {counted(k, 'class', 'classes')} apart. With 95% confidence its accuracy on images like "
        f"these lies between {bounds}; {_always_the_same(found.majority)} {_transfer_in_short(found.transfer)} {price}"
    )


def tiles(found: Evaluation) -> list[Tile]:
    """The headline figures."""
    cost = found.cost
    under = f"median; 95% stay under {milliseconds(cost.latency_p95_ms)}"
    return [
        *(_of_classifier(found) if isinstance(found, ClassifierEvaluation) else _of_any(found)),
        Tile("Time per image", milliseconds(cost.latency_ms), under),
        Tile("Model size", megabytes(cost.size_mb), f"{millions(cost.parameters)} parameters"),
    ]


def _of_any(found: Evaluation) -> list[Tile]:
    """Every metric, with its interval."""
    found_tiles = []
    for name, score in found.scores.items():
        band = found.intervals[name]
        note = "" if band is None else f"95%: {cell(band.low)} to {cell(band.high)}"
        found_tiles.append(Tile(metric_name(name), cell(score.value), note))
    return found_tiles


def _of_classifier(found: ClassifierEvaluation) -> list[Tile]:
    transfer = found.transfer
    gain = Tile("Gain by transfer", "–", f"Not tested: {transfer.reason}")
    if (random := random_weights(transfer)) is not None:
        low, high = random.gain_ci95
        note = f"{random.metric} of a linear head over random weights, on the folds; 95%: {low:+.3f} to {high:+.3f}"
        gain = Tile("Gain by transfer", f"{random.gain:+.3f}", note)
    if transfer.difference is not None and transfer.interval is not None:
        note = f"percentage points over from scratch; 95%: {point_interval(transfer.interval)}"
        gain = Tile("Gain by transfer", f"{points(transfer.difference)} pp", note)
    return [
        _share(found, "Accuracy", "accuracy", "Share named rightly"),
        _share(found, "Macro F1", "macro_f1", "Rare classes weigh as much"),
        gain,
    ]


def _share(found: Evaluation, name: str, key: str, more: str) -> Tile:
    band = found.intervals.get(key)
    return Tile(name, percent(found.scores[key].value), f"95%: {interval(band)}. {more}", _band(band))


def _band(found: Interval | None) -> tuple[float, float] | None:
    return None if found is None else (round(100 * found.low, 2), round(100 * (found.high - found.low), 2))


def _always_the_same(found: Majority | None) -> str:
    """What always naming the most frequent class gives, and a warning where the model is no better."""
    if found is None:
        return "there are no test images."
    share = f"always answering {found.name!r}, the most frequent in training, would be right on {percent(found.share)}."
    warning = found.in_words()
    return share if warning is None else f"{share} {warning}"


def random_weights(transfer: TransferComparison) -> EvidenceRow | None:
    """The pretrained features against random ones, where there is nothing better to go by."""
    return None if transfer.difference is not None else transfer.over_random_weights


def _transfer_in_short(transfer: TransferComparison) -> str:
    if (random := random_weights(transfer)) is not None:
        return (
            f"A linear head on pretrained features has {random.metric} {random.score:.3f} over the folds, on random "
            f"weights {random.rival_score:.3f}; no network was trained from scratch."
        )
    if transfer.difference is None:
        return "Whether transfer learning helped was not tested."
    gap = f"{abs(100 * transfer.difference):.1f} percentage points"
    return {
        "helps": f"Transfer learning helps: it is worth {gap} over the same network trained from scratch.",
        "hurts": f"Transfer learning hurts: the same network trained from scratch is {gap} better.",
        "undecided": "Whether transfer learning helps cannot be decided from these images.",
    }[transfer.verdict]


def production(context: ReportContext) -> list[Block]:
    """The comparison with the production model; nothing where there is no other."""
    said = in_words(context.classifier.production)
    return [] if said is None else [Text(said)]


def use(context: ReportContext) -> list[Block]:
    """What the model is for, and what it must not be used for."""
    found = context.classifier
    names, fewest = [row.name for row in found.classes], min(found.classes, key=lambda row: row.n_test)
    count = counted(len(names), "class", "classes")
    shown = ", ".join(repr(name) for name in names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    others = "it gives one of its names to that too"
    if found.trusted.trust.novelty.distance is not None:
        others += ", and only marks it as unlike the training images, at best"
    return [
        Text(f"To say which of {count} an image shows: {shown}{more}."),
        Text("It must not be used for:"),
        Bullets(
            (
                "Images from another camera, place or time: the test images come from the same source as the training "
                "images, so nothing is known of others.",
                f"Images of none of its {count}: {others}.",
                f"Decisions that hang on a single class with few test images: {fewest.name!r} has {fewest.n_test:,}.",
                "Decisions about people, or where a mistake does harm, without a person who checks: nothing of that "
                "kind was tested.",
            )
        ),
    ]


def transfer(context: ReportContext) -> list[Block]:
    """The verdict on transfer, with the control, and both at fewer labels."""
    found = context.classifier
    blocks: list[Block] = [Badge(found.transfer.verdict), Text(transfer_sentence(found.transfer))]
    sides = (("transferred", found.transfer.transferred), ("from scratch", found.transfer.control))
    rows = [Row((name, percent(side.accuracy), interval(side.interval))) for name, side in sides if side is not None]
    if len(rows) == len(sides):
        blocks.append(Table("Both models", columns("model", numbers="accuracy,95% interval"), tuple(rows)))
    if found.transfer.evidence:
        blocks.append(_evidence(found.transfer.evidence))
    if (curve := _label_curve(found)).rows:
        blocks.append(Heading("With fewer labels"))
        caption = "Accuracy on the same test images after training on so many labels per class. Whiskers: 95%."
        alt = "Accuracy against labels per class; the figures are in the table beside"
        drawn = context.figures.get("label_curve")
        blocks.append(curve if drawn is None else Pair(Figure(drawn, alt, caption), (curve,)))
    return blocks


def _evidence(rows: Sequence[EvidenceRow]) -> Table:
    """A linear head on the pretrained features against its rivals."""
    head = columns("a linear head on pretrained features against", numbers="its own,the other's,gain,95% interval")
    cells = (
        Row(
            (
                row.rival,
                f"{row.score:.3f}",
                f"{row.rival_score:.3f}",
                f"{row.gain:+.3f}",
                f"{row.gain_ci95[0]:+.3f} to {row.gain_ci95[1]:+.3f}",
            )
        )
        for row in rows
    )
    return Table(f"Cheap evidence, on the folds of the training images ({rows[0].metric})", head, tuple(cells))


def _label_curve(found: ClassifierEvaluation) -> Table:
    rows = [
        Row(
            (
                cell(point.labels_per_class),
                percent(point.transferred.accuracy),
                percent(point.control.accuracy),
                f"{points(point.difference)} ({point_interval(point.interval)})",
                point.verdict,
            )
        )
        for point in found.curve
        if point.transferred and point.control and point.interval and point.difference is not None
    ]
    head = (*columns(numbers="labels,transferred,scratch,difference (pp)"), Column("verdict"))
    return Table("Accuracy by labels per class", head, tuple(rows))


def transfer_sentence(transfer: TransferComparison) -> str:
    """The finding in full."""
    if transfer.difference is None or transfer.interval is None:
        if transfer.rule == BY_PROBE:
            return f"The verdict goes by {transfer.rule}: {transfer.reason}."
        return f"Undecided: {transfer.reason}."
    chance = "" if transfer.p_value is None else f" (p = {transfer.p_value:.2g})"
    text = (
        f"The same network was trained from scratch on the same images{_control_budget(transfer)}. Accuracy with "
        f"transfer minus accuracy without is {points(transfer.difference)} percentage points; its 95% interval is "
        f"{point_interval(transfer.interval)}{chance}."
    )
    text += {
        "helps": " All of it lies above zero.",
        "hurts": " All of it lies below zero.",
        "undecided": " It holds zero, so chance could explain the difference."
        if transfer.reason is None
        else f" Still it is undecided: {transfer.reason}.",
    }[transfer.verdict]
    if (folds := transfer.folds) is not None:
        text += (
            f" On {counted(folds.folds, 'fold', 'folds')} of the training images, "
            f"{counted(folds.seeds, 'seed', 'seeds')} of the control, the difference is "
            f"{points(folds.difference)} percentage points on average; its 95% interval is "
            f"{point_interval(folds.interval)}."
        )
    if transfer.verdict == "hurts":
        text += (
            " The transferred model is delivered all the same, as test images choose no model: to let a network from "
            "scratch be chosen, name it among zoo.candidates with `weights: none`."
        )
    return text if transfer.similarity is None else f"{text} {transfer.similarity['says']}"


def _control_budget(transfer: TransferComparison) -> str:
    """The control's budget in words; empty where model.json does not say."""
    budget = transfer.budget
    if budget is None:
        return ""
    images = counted(budget["images"], "image", "images")
    found = "the best of short tries on held-out training images" if budget["tried"] else "as none could be held out"
    return (
        f", with a budget and a rate of its own: {budget['steps']:,} steps ({budget['epochs']:,} epochs of {images}) "
        f"at a learning rate of {budget['learning_rate']:g}, {found}; with images of {budget['size']:,} px"
    )
