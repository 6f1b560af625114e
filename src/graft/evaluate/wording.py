"""Figures and findings in words: every number of the report gets its unit and its interval here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.evaluate.cost import ROUNDS

# Classes that a sentence names.
_MOST_NAMED = 12

if TYPE_CHECKING:
    from graft.evaluate.cost import Cost
    from graft.evaluate.intervals import Interval
    from graft.evaluate.majority import Majority
    from graft.evaluate.result import Evaluation
    from graft.evaluate.transfer import Comparison


def percent(share: float | None) -> str:
    """A share in [0, 1] -> ``93.4%``; an en dash where there is none. Only exactly 0 and 1 lose their decimal."""
    if share is None:
        return "–"
    if share in (0, 1):
        return f"{share:.0%}"
    # 0.9996 must not read 100.0%: that would claim what was not seen.
    return f"{min(max(100 * share, 0.1), 99.9):.1f}%"


def area(value: float | None) -> str:
    """An area under a curve -> ``0.953``; an en dash where there is none. Only exactly 1 reads 1.000."""
    if value is None:
        return "–"
    return f"{value if value in (0, 1) else min(max(value, 0.001), 0.999):.3f}"


def interval(found: Interval | None) -> str:
    """``92.1% to 94.5%``."""
    return "–" if found is None else f"{percent(found.low)} to {percent(found.high)}"


def points(difference: float) -> str:
    """A difference of two shares -> signed percentage points, ``+3.1``."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def point_interval(found: Interval) -> str:
    """``+1.2 to +4.9``."""
    return f"{points(found.low)} to {points(found.high)}"


def number(value: float) -> str:
    """At most four significant digits, thousands separated."""
    if not math.isfinite(value):
        return "unbounded"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def metric_name(key: str) -> str:
    """``macro_f1`` -> ``macro F1``: a key of metrics.json for people."""
    names = {"_": " ", "f1": "F1", "roc auc": "ROC AUC", "brier": "Brier", "matthews": "Matthews"}
    for plain, proper in names.items():
        key = key.replace(plain, proper)
    return key


def cell(value: Any) -> str:
    """Any value of a foreign table, for people."""
    if value is None or (isinstance(value, (float, np.floating)) and math.isnan(value)):
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    return number(float(value)) if isinstance(value, (int, float, np.number)) else str(value)


def millions(count: int) -> str:
    """``11.2 million``, or the count itself where it is below one million."""
    return f"{count / 1e6:.1f} million" if count >= 1_000_000 else f"{count:,}"


def milliseconds(value: float) -> str:
    """``3.2 ms``."""
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def megabytes(value: float) -> str:
    """``44.8 MB``."""
    return f"{value:.1f} MB" if value >= 1 else f"{value:.2f} MB"


def counted(count: int, one: str, many: str) -> str:
    """``1 image``, ``1,234 images``."""
    return f"{count:,} {one if count == 1 else many}"


def title(found: Evaluation) -> str:
    """The verdict on the model in one sentence."""
    images = counted(len(found.held_out.labels), "unseen image", "unseen images")
    return f"Right on {percent(found.scores['accuracy'].value)} of {images}"


def lead(found: Evaluation) -> str:
    """The same with its interval, what chance gives, the verdict on transfer, and the price."""
    k = len(found.held_out.classes)
    parts = [
        f"The model tells {counted(k, 'class', 'classes')} apart. With 95% confidence its accuracy on images "
        f"like these lies between {interval(found.intervals['accuracy']).replace(' to ', ' and ')}; "
        f"{always_the_same(found.majority)}",
        transfer_in_short(found.transfer),
        f"One image takes {milliseconds(found.cost.latency_ms)} on this machine.",
    ]
    return " ".join(parts)


def always_the_same(found: Majority | None) -> str:
    """What always naming the most frequent class would give, and what must be said where the model is no better."""
    if found is None:
        return "there are no test images."
    share = f"always answering {found.name!r}, the most frequent in training, would be right on {percent(found.share)}."
    told = found.in_words()
    return share if told is None else f"{share} {told}"


def transfer_in_short(transfer: Comparison) -> str:
    """One sentence, for the top of the page."""
    if transfer.difference is None:
        return "Whether transfer learning helped was not tested."
    gap = f"{abs(100 * transfer.difference):.1f} percentage points"
    if transfer.verdict == "helps":
        return f"Transfer learning helps: it is worth {gap} over the same network trained from scratch."
    if transfer.verdict == "hurts":
        return f"Transfer learning hurts: the same network trained from scratch is {gap} better."
    return "Whether transfer learning helps cannot be decided from these images."


def transfer_sentence(transfer: Comparison) -> str:
    """The finding in full, for its own section."""
    if transfer.difference is None or transfer.interval is None:
        return f"Undecided: {transfer.reason}."
    text = (
        f"The same network was trained from scratch on the same images{budget_of_control(transfer)}. Accuracy with "
        f"transfer minus accuracy without is {points(transfer.difference)} percentage points; its 95% interval is "
        f"{point_interval(transfer.interval)}{'' if transfer.p_value is None else f' (p = {transfer.p_value:.2g})'}."
    )
    ends = {
        "helps": " All of it lies above zero.",
        "hurts": " All of it lies below zero.",
        "undecided": " It holds zero, so chance could explain the difference."
        if transfer.reason is None
        else f" Still it is undecided: {transfer.reason}.",
    }
    text += ends[transfer.verdict]
    if transfer.folds is not None:
        text += (
            f" Trained again in every fold, {counted(transfer.folds.seeds, 'seed', 'seeds')} by "
            f"{counted(transfer.folds.folds, 'fold', 'folds')}, the difference is {points(transfer.folds.difference)} "
            f"percentage points on average; its 95% interval is {point_interval(transfer.folds.interval)}."
        )
    if transfer.verdict != "helps" or transfer.control_is_better:
        text += f" {delivered_sentence(transfer)}"
    return text if transfer.similarity is None else f"{text} {transfer.similarity['says']}"


def budget_of_control(transfer: Comparison) -> str:
    """What the control had; nothing where its card does not say."""
    budget = transfer.budget
    if budget is None:
        return ""
    images = counted(budget["images"], "image", "images")
    found = "the best of short tries on held-out training images" if budget["tried"] else "as none could be held out"
    return (
        f", with a budget and a rate of its own: {budget['steps']:,} steps ({budget['epochs']:,} epochs of {images}) "
        f"at a learning rate of {budget['learning_rate']:g}, {found}"
    )


def delivered_sentence(transfer: Comparison) -> str:
    """Which of the two models is delivered, and by what; test images choose none."""
    if transfer.control_is_better:
        return (
            "As the control is better over the folds, whose images are training images, it is the one that is "
            "packaged, unless package.take is transferred. The test images had no say in that."
        )
    why = "over the folds it is not shown to be worse than the control"
    if transfer.folds is None:
        why = "the two were not compared over the folds of the training images (train.control_seeds: 0)"
    return f"The transferred model is the one that is packaged: test images choose no model, and {why}."


def errors_sentence(found: Evaluation) -> str:
    """How many mistakes, and which class is the weakest."""
    n = len(found.held_out.labels)
    wrong = n - int(np.trace(found.confusion))
    if wrong == 0:
        return f"All {counted(n, 'test image', 'test images')} were named rightly; there are no mistakes to show."
    text = f"{wrong:,} of {counted(n, 'test image', 'test images')} were named wrongly."
    known = [(row.recall, row) for row in found.classes if row.recall is not None]
    share, worst = min(known, key=lambda item: item[0])
    return (
        f"{text} The weakest class is {worst.name!r}: {percent(share)} of its {worst.n_test:,} test images are found."
    )


def confidence_sentence(found: Evaluation) -> str:
    """Whether the model is too sure or not sure enough, and by how much."""
    accuracy, error = found.scores["accuracy"].value, found.scores["calibration_error"].value
    if accuracy is None or error is None:
        return "There are no test images."
    mean = float(found.probabilities.max(axis=1).mean())
    gap = mean - accuracy
    verdict = "about as sure as it is right"
    if abs(gap) >= 0.01:
        verdict = "surer than it is right" if gap > 0 else "less sure than it is right"
    return (
        f"On average the model is {percent(mean)} sure and right on {percent(accuracy)}: {verdict}. "
        f"The mean gap over bands of confidence (expected calibration error) is {100 * error:.1f} percentage points."
    )


def cost_note(cost: Cost) -> str:
    """How the times were taken."""
    threads = counted(cost.threads, "CPU thread", "CPU threads")
    return (
        f"Time of one image: from the encoded file in memory to probabilities (decoding, preprocessing, forward pass), "
        f"{counted(cost.runs, 'run', 'runs')} after warm-up, the best of {ROUNDS} rounds, batch of 1, device "
        f"{cost.device}, {threads}. It holds for this machine only. Peak memory is that of a whole process that loads "
        "the model and answers for single images. A GMAC is a billion multiplications with an addition. 1 MB is "
        "1,000,000 bytes."
    )


def method(found: Evaluation) -> list[str]:
    """How the figures came about, a line each."""
    drawn = found.resampling
    n = len(found.held_out.labels)
    grouped = "images" if drawn.count == n else f"{drawn.count:,} groups of images that hang together (near duplicates)"
    return [
        "Test images took no part in choosing, tuning or stopping: those steps saw training images only.",
        f"Intervals: percentile bootstrap over test {grouped}, {drawn.samples:,} resamples, seed {drawn.seed}; where "
        "nothing varies (all right, say), an upper limit of Wilson's kind takes its place.",
        "Transfer, and every other comparison of two models: McNemar's exact test on the test images that only one of "
        "them names rightly, with the 95% interval of the accuracy difference that belongs to it (Fay and Lumbard "
        "2021): “helps” if it lies above zero, “hurts” if below, else “undecided”. Groups count once.",
        "The interval covers the choice of test images. That of training images and of the training's seed is covered "
        "where train.control_seeds asks for a comparison over folds and seeds (corrected resampled t, Nadeau and "
        "Bengio 2003); then both must agree.",
        "Averages over classes go over the classes that have test images.",
        "Every image passed through the preprocessing stored with the model, the same that serving uses.",
    ]


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


def purpose(found: Evaluation) -> str:
    """What the model is for."""
    names = [row.name for row in found.classes]
    shown = ", ".join(repr(name) for name in names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"To say which of {counted(len(names), 'class', 'classes')} an image shows: {shown}{more}."


def limits(found: Evaluation, guarded: bool = False) -> list[str]:
    """What it must not be used for, because nothing here speaks for it.

    Args:
        found: the figures.
        guarded: the model keeps a threshold above which an image counts as unlike the training images.
    """
    fewest = min((row for row in found.classes), key=lambda row: row.n_test)
    others = "it gives one of its names to that too"
    if guarded:
        others = "it gives one of its names to that too, and only marks it as unlike the training images, at best"
    return [
        "Images from another camera, place or time: the test images come from the same source as the training images, "
        "so nothing is known of others.",
        f"Images of none of its {counted(len(found.held_out.classes), 'class', 'classes')}: {others}.",
        f"Decisions that hang on a single class with few test images: {fewest.name!r} has {fewest.n_test:,}.",
        "Decisions about people, or where a mistake does harm, without a person who checks: nothing of that kind was "
        "tested.",
    ]
