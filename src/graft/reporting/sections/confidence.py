"""Calibration, abstention and novelty detection on the test images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graft.metrics.formatting import counted, interval, percent
from graft.reporting.blocks import Block, Figure, Heading, Pair, Row, Table, Text, columns

if TYPE_CHECKING:
    from graft.evaluation.calibration_check import CalibrationCheck
    from graft.evaluation.evaluation import ClassifierEvaluation
    from graft.reporting.context import ReportContext


def confidence(context: ReportContext) -> list[Block]:
    """Reliability diagram, accuracy against coverage, novelty."""
    found, figures = context.classifier, context.figures
    reliability = Figure(
        figures["reliability"],
        "Reliability diagram: share named rightly against confidence",
        "Each dot holds the test images of one band of confidence, its area their number. On the dashed line the model "
        "is as sure as it is right; below it, it is too sure.",
    )
    coverage = Figure(
        figures["coverage"],
        "Accuracy of the answers against the share of images answered; the figures are in the table beside",
        "Images are answered in order of confidence, the surest first. The diamond is the model's own threshold.",
    )
    return [
        Text(f"{confidence_sentence(found)} {calibration_sentence(found.trusted)}"),
        reliability,
        Heading("When it may say “not sure”"),
        Text(coverage_sentence(found.trusted)),
        Pair(coverage, (coverage_table(found),)),
        Heading("Does it notice an image of something else?"),
        Text(novelty_sentence(found.trusted)),
    ]


def confidence_sentence(found: ClassifierEvaluation) -> str:
    """Whether the model is too sure or not sure enough, and by how much."""
    accuracy, error = found.scores["accuracy"].value, found.scores["calibration_error"].value
    if accuracy is None or error is None:
        return "There are no test images."
    mean = float(found.outputs.max(axis=1).mean())
    gap = mean - accuracy
    verdict = "about as sure as it is right"
    if abs(gap) >= 0.01:
        verdict = "surer than it is right" if gap > 0 else "less sure than it is right"
    return (
        f"On average the model is {percent(mean)} sure and right on {percent(accuracy)}: {verdict}. "
        f"The mean gap over bands of confidence (expected calibration error) is {100 * error:.1f} percentage points."
    )


def calibration_sentence(found: CalibrationCheck) -> str:
    """What the temperature changed on the test images, which it has not seen."""
    fit, seen = found.trust.temperature, found.calibration
    if fit.reason is not None:
        return f"Its confidence is left as it is: {fit.reason}."
    if seen is None:
        return "There are no test images to hold the temperature against."
    between = "" if fit.low is None or fit.high is None else f" (95%: {fit.low:.2f} to {fit.high:.2f})"
    was = "too sure of itself" if fit.value > 1 else "not sure enough"
    gained = seen.gained_interval
    bounds = "" if gained is None else f" (95%: {_signed(-gained.high)} to {_signed(-gained.low)})"
    return (
        f"On {_held_out(fit.n_fitted)} the network was {was}; its logits are divided by a temperature of "
        f"{fit.value:.2f}{between}. On the test images, which had no part in that, the calibration error went from "
        f"{100 * seen.ece_before:.1f} to {100 * seen.ece_after:.1f} percentage points, and log loss "
        f"changed by {_signed(-seen.gained)} nats{bounds}. Which class is named does not change."
    )


def coverage_sentence(found: CalibrationCheck) -> str:
    """What is answered, and how good that is, where the model may say that it is not sure."""
    fit = found.trust.threshold
    text = f"An answer of less than {percent(fit.confidence)} confidence counts as not sure. "
    if found.coverage.value is None or found.answered.value is None:
        return f"{text}{found.coverage.reason or found.answered.reason}.".replace(". t", ". T", 1)
    text += f"{percent(found.coverage.value)} of the test images are answered, and {percent(found.answered.value)} "
    text += f"of these answers are right (95%: {interval(found.answered.interval)})"
    text += "." if found.unsure.value is None else f"; of the others {percent(found.unsure.value)} would have been."
    if fit.reason is not None:
        return f"{text} It is a default: {fit.reason}."
    text = f"{text} It was chosen on {_held_out(fit.n_fitted)}"
    if fit.target is None or fit.accuracy_bound is None:
        return f"{text}."
    return (
        f"{text}: on the {fit.n_answered:,} of them that are answered the lower 95% bound of the accuracy "
        f"(Clopper-Pearson) is {percent(fit.accuracy_bound)}, and {percent(fit.target)} were asked for."
    )


def coverage_table(found: ClassifierEvaluation) -> Table:
    """What is answered, and how often rightly, at some confidences and at the model's own threshold."""
    threshold = found.trusted.trust.threshold.confidence
    sure = found.outputs.max(axis=1, initial=0.0)
    right = found.outputs.argmax(axis=1) == found.held_out.labels
    rows = []
    for least in sorted({0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, threshold}):
        answered = sure >= least
        share = percent(float(right[answered].mean())) if answered.any() else "–"
        own = "the model's own threshold" if least == threshold else ""
        rows.append(Row((percent(least), percent(float(answered.mean())), share), bool(own), own))
    head = columns(numbers="at least so sure,answered,of these right")
    return Table("Accuracy by share of images answered", head, tuple(rows))


def novelty_sentence(found: CalibrationCheck) -> str:
    """Whether images like the training images pass for such."""
    fit = found.trust.novelty
    if fit.distance is None or found.usual.value is None:
        return f"It cannot tell an image that is unlike its training images: {found.usual.reason or fit.reason}."
    meant = "most" if fit.usual is None else percent(fit.usual)
    bounds = "" if found.usual.interval is None else f" (95%: {interval(found.usual.interval)})"
    return (
        "An image is called unlike the training images where its features are farther from theirs than those of "
        f"{meant} of {counted(fit.n_fitted, 'training image', 'training images')} are from the others'. As the "
        "network was trained on these, the share of new images of their kind that passes is near to that and not "
        f"exactly that: {percent(found.usual.value)} of the test images pass{bounds}. How many images of something "
        "else are caught was not tested."
    )


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _held_out(count: int) -> str:
    return counted(count, "held-out training image", "held-out training images")
