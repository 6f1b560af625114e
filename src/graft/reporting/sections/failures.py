"""Error analysis: mistakes, slices, doubtful training labels, figures per class, ROC and precision-recall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graft.evaluation.slices import LEAST, weakest
from graft.evaluation.tables import most_confused
from graft.metrics.formatting import area, counted, percent
from graft.reporting.blocks import Block, Column, Figure, Gallery, Heading, Pair, Row, Table, Text, columns
from graft.reporting.figures.plots import MOST_BARS, confusion_caption, lowest

if TYPE_CHECKING:
    from graft.evaluation.evaluation import ClassifierEvaluation
    from graft.evaluation.explain.label_issues import LabelIssues
    from graft.evaluation.slices import Slice
    from graft.reporting.context import ReportContext


def errors(context: ReportContext) -> list[Block]:
    """How many mistakes, which classes are confused, and the most confident mistakes."""
    found = context.classifier
    pairs = most_confused(found.held_out.classes, found.confusion)
    rows = tuple(Row((x.true, x.predicted, f"{x.count:,}", percent(x.share))) for x in pairs)
    table = Table("Most confused pairs of classes", columns("true", "predicted", numbers="images,of the class"), rows)
    alt = "Confusion matrix; the counts are in confusion.csv beside this report"
    drawn = Figure(context.figures["confusion"], alt, confusion_caption(found.confusion))
    blocks: list[Block] = [
        Text(errors_sentence(found)),
        Pair(drawn, (Heading("Most confused"), table) if rows else ()),
    ]
    if context.mistakes:
        title, caption = (
            "Most confident mistakes",
            "The test images for which the model was surest of a wrong answer; some may be labelled wrongly.",
        )
        if context.saliency:
            title += ", and where the model looked"
            caption += (
                " On the right what the network saw of each, in grey; what glows spoke for the wrong answer, yellow "
                f"most. {context.saliency} It shows where, not why."
            )
        blocks.append(Gallery(title, caption, tuple(context.mistakes)))
    return blocks


def errors_sentence(found: ClassifierEvaluation) -> str:
    """How many mistakes, and which class is the weakest."""
    n = len(found.held_out.labels)
    wrong = n - int(np.trace(found.confusion))
    if wrong == 0:
        return f"All {counted(n, 'test image', 'test images')} were named rightly; there are no mistakes to show."
    known = [(row.recall, row) for row in found.classes if row.recall is not None]
    share, worst = min(known, key=lambda item: item[0])
    return (
        f"{wrong:,} of {counted(n, 'test image', 'test images')} were named wrongly. The weakest class is "
        f"{worst.name!r}: {percent(share)} of its {worst.n_test:,} test images are found."
    )


def slices(context: ReportContext) -> list[Block]:
    """Accuracy on parts of the test images."""
    accuracy = context.classifier.scores["accuracy"].value or 0.0
    blocks: list[Block] = [Text(slices_sentence(context.slices, accuracy))]
    if context.slices:
        rows = [Row(_slice_cells(item), item.weak) for item in context.slices]
        head = (Column("slice", words=True), *columns(numbers="images,accuracy,95% interval"), Column("verdict"))
        note = (
            "A slice is weak where its interval, widened for the number of slices that are compared, lies below the "
            "accuracy of all images; otherwise one bad slice among many would be mere chance. The intervals shown are "
            "those of each slice by itself. Sizes and tones are parted at the quartiles of the test images."
        )
        blocks += [Table("Accuracy by slice", head, tuple(rows), tall=True), Text(note, "muted small")]
    return blocks


def _slice_cells(item: Slice) -> tuple[str, ...]:
    verdict = "weak" if item.weak else "not weak" if item.compared else "too few to say"
    bounds = f"{percent(item.low)} to {percent(item.high)}"
    return f"{item.fact}, {item.name}", f"{item.n:,}", percent(item.accuracy), bounds, verdict


def slices_sentence(found: Sequence[Slice], accuracy: float) -> str:
    """Which slice is the weakest, and whether chance explains it."""
    compared = sum(item.compared for item in found)
    if not found:
        return "The test images are alike in size, tones and origin, or nothing is known of them: there are no slices."
    item = weakest(tuple(found))
    if item is None:
        return f"No slice has the {LEAST} test images that it takes to compare it with the whole."
    count = counted(compared, "slice", "slices")
    text = (
        f"The weakest of {count} is {item.fact}, {item.name}: {percent(item.accuracy)} of its {item.n:,} images (95%: "
        f"{percent(item.low)} to {percent(item.high)}); all images together: {percent(accuracy)}. "
    )
    if not item.weak:
        return text + f"Among {count} chance alone can do that: no slice is called weak."
    weak = sum(other.weak for other in found)
    more = "" if weak == 1 else f" {weak} slices are weak in this sense."
    return text + f"That is more than chance explains, also after correction for {compared} comparisons.{more}"


def labels(context: ReportContext) -> list[Block]:
    """Training images whose label is doubted."""
    shown = tuple(context.label_issue_pictures)
    text = Text(label_issues_sentence(context.suspects, len(shown)))
    return [text, Gallery("", "", shown)] if shown else [text]


def label_issues_sentence(suspects: LabelIssues, shown: int) -> str:
    """How many training labels are doubted."""
    if suspects.reason:
        return f"Labels were not checked: {suspects.reason}."
    judged = counted(suspects.judged, "training image", "training images")
    count = len(suspects.found)
    if count == 0:
        return f"Of {judged}, each judged by models that had not seen it, no label is doubted."
    text = (
        f"Of {judged}, each judged by models that had not seen it, {counted(count, 'label is', 'labels are')} doubted "
        "(confident learning). A doubt is no proof: look, and mend what is wrong before training again."
    )
    more = f" The {shown} least believable are shown; suspects.csv lists all."
    return text + more if 0 < shown < count else text


def classes(context: ReportContext) -> list[Block]:
    """Counts and figures of every class."""
    found = context.classifier
    rows = [
        Row((x.name, f"{x.n_train:,}", f"{x.n_test:,}", *map(percent, (x.precision, x.recall, x.f1)), area(x.roc_auc)))
        for x in found.classes
    ]
    shown = min(len(rows), MOST_BARS)
    caption = "Worst F1 first." if shown == len(rows) else f"The {shown} classes with the worst F1."
    alt = "Recall and F1 of each class; the figures are in the table beside"
    head = columns("class", numbers="train,test,precision,recall,F1,ROC AUC")
    reasons = tuple(Text(f"{row.name}: {row.reason}.", "muted small") for row in found.classes if row.reason)
    table = Table("Figures per class", head, tuple(rows), tall=True)
    return [Pair(Figure(context.figures["classes"], alt, caption), (table, *reasons))]


def ranking(context: ReportContext) -> list[Block]:
    """ROC and precision-recall curves; nothing where no class has one."""
    found, drawn = context.classifier, context.figures
    if "roc" not in drawn:
        return []
    areas = {row.name: row.roc_auc for row in found.classes if row.roc_auc is not None}
    precisions = {row.name: row.average_precision for row in found.classes if row.average_precision is not None}
    worst, least = lowest(areas)[0], lowest(precisions)[0]
    which = "Of two classes one is drawn: the other tells the same." if len(areas) == 2 else "The worst classes."
    roc = Figure(
        drawn["roc"],
        f"ROC curves; the lowest area is {area(areas[worst])}, of class {worst}",
        f"ROC curve: share of the class's images found against share of other images taken for it. {which} The number "
        "is the area under the curve; on the dashed line it would be guessing.",
    )
    pr = Figure(
        drawn["pr"],
        f"Precision-recall curves; the lowest mean precision is {area(precisions[least])}, of class {least}",
        "Precision-recall curve: of what is called so, the share that is right, against the share found.",
    )
    return [Pair(roc, (pr,))]
