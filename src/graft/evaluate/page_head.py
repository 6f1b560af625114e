"""The report's first screen: the verdict, the headline figures, and whether transfer helped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graft.evaluate import incumbent, wording
from graft.evaluate.wording import interval, percent, points

if TYPE_CHECKING:
    from graft.evaluate.intervals import Interval
    from graft.evaluate.result import Evaluation


def head(found: Evaluation) -> dict[str, Any]:
    """Title, lead, tiles and the comparison with the control, as the template wants them."""
    transfer = found.transfer
    rows = []
    if transfer.transferred is not None and transfer.control is not None:
        sides = (("transferred", "ours", transfer.transferred), ("from scratch", "other", transfer.control))
        rows = [
            {
                "name": name,
                "kind": kind,
                "band": _band(side.interval),
                "text": f"{percent(side.accuracy)} ({interval(side.interval)})",
            }
            for name, kind, side in sides
        ]
    sentence = wording.transfer_sentence(transfer)
    return {
        "title": wording.title(found),
        "lead": wording.lead(found),
        "tiles": tiles(found),
        "transfer": {"verdict": transfer.verdict, "sentence": sentence, "rows": rows},
        "incumbent": incumbent.in_words(found.incumbent),
    }


def tiles(found: Evaluation) -> list[dict[str, Any]]:
    """The headline figures: name, value, note, and the interval as (left, width) in percent of the scale."""

    def share(name: str, key: str, more: str) -> dict[str, Any]:
        band = found.intervals.get(key)
        note = f"95%: {interval(band)}. {more}"
        return {"name": name, "value": percent(found.scores[key].value), "band": _band(band), "note": note}

    transfer, cost = found.transfer, found.cost
    gain = {"name": "Gain by transfer", "value": "–", "band": None, "note": f"Not tested: {transfer.reason}"}
    if transfer.difference is not None and transfer.interval is not None:
        gain["value"] = f"{points(transfer.difference)} pp"
        gain["note"] = f"percentage points over from scratch; 95%: {wording.point_interval(transfer.interval)}"
    return [
        share("Accuracy", "accuracy", "Share named rightly"),
        share("Macro F1", "macro_f1", "Rare classes weigh as much"),
        gain,
        {
            "name": "Time per image",
            "value": wording.milliseconds(cost.latency_ms),
            "band": None,
            "note": f"median; 95% stay under {wording.milliseconds(cost.latency_p95_ms)}",
        },
        {
            "name": "Model size",
            "value": wording.megabytes(cost.size_mb),
            "band": None,
            "note": f"{wording.millions(cost.parameters)} parameters",
        },
    ]


def _band(found: Interval | None) -> tuple[float, float] | None:
    return None if found is None else (round(100 * found.low, 2), round(100 * (found.high - found.low), 2))
