"""Stage `evaluate`: the proof: the verdict on transfer, the figures, the tables and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from graft.core.config import deciding
from graft.core.packed_files import open_folder
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.pipeline.execution.runner import run_stage
from graft.pipeline.inputs.planned import PLAN_FILE

if TYPE_CHECKING:
    from graft.evaluation.compare.transfer import TransferComparison
    from graft.evaluation.cost import PredictionCost
    from graft.evaluation.evaluation import Evaluation, ModelOutputs
    from graft.evaluation.held_out import HeldOutSet
    from graft.evaluation.slices import Slice
    from graft.inference.predictor import Predictor
    from graft.reporting.context import ReportContext, RunRecord
    from graft.stats.bootstrap import Resampling

SCRATCH = "scratch"
# Doubted labels that the report shows as pictures.
MOST_DOUBTED = 12


def run(params: Params, workspace: Workspace) -> None:
    """Write the verdict into reports/control, and metrics.json, tables, report.html and model_card.md.

    Raises:
        DataError: a stage before this one has not run, or a test image cannot be decoded.
        WeightsError: there is no fine-tuned model, or a control was made for other classes.
    """
    from graft.core.determinism import make_deterministic
    from graft.core.files import atomic_dir, write_csv, write_json, write_text
    from graft.evaluation.compare.production import read_comparison
    from graft.evaluation.compare.transfer import CONTROL_FILE
    from graft.evaluation.evaluation import ClassifierEvaluation, evaluate, write_tables
    from graft.evaluation.explain.label_issues import label_issues_table
    from graft.evaluation.held_out import read_held_out
    from graft.evaluation.model_metrics import resampling_of
    from graft.evaluation.outputs import read_outputs
    from graft.evaluation.slices import slices_table
    from graft.inference.package import version_of
    from graft.inference.predictor import Predictor
    from graft.pipeline.inputs.planned import with_plan
    from graft.pipeline.score import OUTPUTS_FILE
    from graft.reporting.figures.plots import write_figures
    from graft.reporting.html import render_html
    from graft.reporting.model_card import render_model_card
    from graft.tasks.registry import find_task

    params = with_plan(params, workspace, "evaluate")
    make_deterministic(params.compute.threads)
    model = Predictor.load(workspace.finetuned)
    task = find_task(model.artifact.task)
    held_out = read_held_out(workspace.splits, model.classes, task)
    said = read_outputs(workspace.scores / OUTPUTS_FILE, held_out, model.artifact.trust)
    resampling = resampling_of(held_out, params.seed)
    transfer = compare_with_controls(params, workspace, model, held_out, said, resampling) if task.categorical else ()
    scored = json.loads(workspace.scored_metrics.read_text(encoding="utf-8"))
    production = read_comparison(scored.get("production"))
    found = evaluate(held_out, said, read_cost(workspace), resampling, production, transfer)
    context = report_context(params, workspace, model, found)
    page, model_card = render_html(context), render_model_card(context)
    with atomic_dir(workspace.control) as folder:
        write_json(folder / CONTROL_FILE, {"model": version_of(workspace.finetuned), **verdict(found)})
    with atomic_dir(workspace.evaluation) as folder:
        write_tables(found, folder)
        if task.categorical:
            write_csv(folder / "slices.csv", slices_table(context.slices))
            write_csv(folder / "suspects.csv", label_issues_table(context.suspects))
        write_figures(context.figures, folder)
        write_text(folder / "report.html", page)
        write_text(folder / "model_card.md", model_card)
    if isinstance(found, ClassifierEvaluation):
        print(f"evaluate: transfer {found.transfer.verdict}, by {found.transfer.rule}")
    print(f"evaluate: report: {workspace.evaluation / 'report.html'}")


def verdict(found: Evaluation) -> dict[str, Any]:
    """What control.json holds: the verdict on transfer with its rule, interval and budget; that there is none."""
    from graft.evaluation.evaluation import ClassifierEvaluation

    if not isinstance(found, ClassifierEvaluation):
        return {"verdict": None, "reason": "the task has no classes, so there is no control"}
    return {**found.transfer.to_json(), "label_curve": [point.to_json() for point in found.curve]}


def read_cost(workspace: Workspace) -> PredictionCost:
    """What the stage `score` measured."""
    from graft.evaluation.cost import PredictionCost
    from graft.pipeline.score import COST_FILE

    return PredictionCost(**json.loads((workspace.scores / COST_FILE).read_text(encoding="utf-8")))


def compare_with_controls(
    params: Params,
    workspace: Workspace,
    model: Predictor,
    held_out: HeldOutSet,
    said: ModelOutputs,
    resampling: Resampling,
) -> list[TransferComparison]:
    """The model against its control, fewest labels first, all training images last."""
    from graft.evaluation.compare.control_folds import compare_over_folds, read_pairs
    from graft.evaluation.compare.transfer import agreed, by_evidence, compare_with_control
    from graft.evaluation.inference import answers_of
    from graft.selection.evidence import EVIDENCE_FILE, read_evidence
    from graft.selection.similarity import SIMILARITY_FILE, read_similarity

    pairs = rivals(params, workspace, model)
    raw = open_folder(workspace.raw)
    models = {f"{name} {side}": one for name, sides in pairs.items() for side, one in sides.items()}
    images = [raw / path for path in held_out.paths] if models else []
    outputs = {name: found.outputs for name, found in answers_of(models, images, held_out.classes).items()}
    labels, found = held_out.labels, []
    for name, sides in pairs.items():
        count = None if name == SCRATCH else int(name.removeprefix("labels-"))
        own = said.outputs if count is None else outputs[f"{name} transfer"]
        compared = compare_with_control(
            labels, own, outputs[f"{name} control"], resampling, count or held_out.labels_per_class
        )
        found.append(replace(compared, budget=sides["control"].artifact.provenance.get("budget")))
    if SCRATCH not in pairs:
        count, why = held_out.labels_per_class, why_no_control(params, workspace, model)
        found.append(compare_with_control(labels, said.outputs, None, resampling, count, why))
    folds = compare_over_folds(read_pairs(workspace.controls, delivered_by_fold(workspace, model)))
    whole = by_evidence(agreed(found[-1], folds), read_evidence(workspace.selection / EVIDENCE_FILE))
    return [*found[:-1], replace(whole, similarity=read_similarity(workspace.selection / SIMILARITY_FILE))]


def rivals(params: Params, workspace: Workspace, model: Predictor) -> dict[str, dict[str, Predictor]]:
    """For each comparison its sides: `control`, and on fewer labels also `transfer`; where one is missing, neither.

    Where the winner itself began without weights nothing was transferred, so there is nothing to compare.
    """
    from graft.evaluation.held_out import check_classes
    from graft.inference.artifact import ARTIFACT_FILE
    from graft.inference.predictor import Predictor

    if not params.train.control or model.artifact.weights == "none":
        return {}
    found: dict[str, dict[str, Predictor]] = {}
    for count in sorted(set(params.train.label_counts)):
        name = f"labels-{count}"
        folders = {"control": workspace.controls / name, "transfer": workspace.label_curve / name}
        if all((folder / ARTIFACT_FILE).exists() for folder in folders.values()):
            found[name] = {side: Predictor.load(folder) for side, folder in folders.items()}
    if (workspace.controls / SCRATCH / ARTIFACT_FILE).exists():
        found[SCRATCH] = {"control": Predictor.load(workspace.controls / SCRATCH)}
    for name, sides in found.items():
        for side, one in sides.items():
            check_classes(one.classes, model.classes, f"the {side} {name!r}")
    return found


def delivered_by_fold(workspace: Workspace, model: Predictor) -> Mapping[int, float]:
    """Accuracy of the delivered strategy on each fold that it was trained without; empty where nobody knows."""
    from graft.evaluation.compare.control_folds import accuracy_by_fold
    from graft.selection.out_of_fold import FILE

    strategy = str(model.artifact.provenance.get("strategy"))
    for table in (workspace.tuning / FILE, workspace.selection / FILE):
        if table.exists() and (found := accuracy_by_fold(table, strategy)):
            return found
    return {}


def why_no_control(params: Params, workspace: Workspace, model: Predictor) -> str:
    """What the report says where there is nothing to compare with."""
    if model.artifact.weights == "none":
        return "the chosen model itself began without pretrained weights, so nothing was transferred"
    if not params.train.control:
        return f"no control was trained, because train.control is false (preset: {params.preset})"
    from graft.evaluation.compare.control_folds import CONTROLS_FILE

    path = workspace.controls / CONTROLS_FILE
    if path.exists() and json.loads(path.read_text(encoding="utf-8"))["out_of_time"]:
        return "the time limit passed before the control was trained"
    return "there is no control in models/controls/scratch; run the control stage again"


def report_context(params: Params, workspace: Workspace, model: Predictor, found: Evaluation) -> ReportContext:
    """What other stages left, and of a classifier the pictures of the worst mistakes, slices and doubted labels."""
    from graft.evaluation.evaluation import ClassifierEvaluation
    from graft.evaluation.explain.label_issues import find_issues, read_out_of_fold
    from graft.modalities.registry import find_modality
    from graft.reporting.context import ReportContext, pictures
    from graft.reporting.figures.gallery import show_label_issues, show_mistakes
    from graft.reporting.sections.leaderboard import read_agreement, read_leaderboard

    context = ReportContext(
        evaluation=found,
        artifact=model.artifact,
        # Packaging comes later: its settings call no report into question, and one that shows them could be stale.
        settings={name: value for name, value in deciding(params).items() if not name.startswith("package.")},
        leaderboard=read_leaderboard(workspace.selection / "leaderboard.csv"),
        agreement=read_agreement(workspace.selection / "agreement.json"),
        selection=pictures(workspace.selection),
        training=pictures(workspace.training),
        excluded=left_out(workspace),
        run=run_record(params, workspace),
    )
    if not isinstance(found, ClassifierEvaluation):
        return context
    raw = open_folder(workspace.raw)
    mistakes, saliency = show_mistakes(model, raw, found.held_out, found.outputs)
    strategy = str(model.artifact.provenance.get("strategy"))
    suspects = find_issues(read_out_of_fold(workspace.selection / "out_of_fold.parquet", strategy))
    return replace(
        context,
        mistakes=mistakes,
        saliency=saliency,
        slices=slices_of(params, workspace, found),
        suspects=suspects,
        label_issue_pictures=show_label_issues(raw, suspects.found[:MOST_DOUBTED], find_modality(params.data.modality)),
    )


def run_record(params: Params, workspace: Workspace) -> RunRecord:
    """The plan, the strategy that is delivered, and what the stages before this one took."""
    from graft.data.protected_paths import outputs_of
    from graft.pipeline.execution.timing import read_timings
    from graft.reporting.context import RunRecord

    plan, chosen = workspace.plan / PLAN_FILE, workspace.training / "strategy.json"
    planned = json.loads(plan.read_text(encoding="utf-8")) if plan.exists() else {}
    choice = json.loads(chosen.read_text(encoding="utf-8")) if chosen.exists() else None
    took = read_timings(workspace)
    stages = [stage for stage in outputs_of(workspace.root) if stage in took and stage != "evaluate"]
    return RunRecord(
        params.preset,
        params.time_limit,
        "" if choice is None else f"{choice['strategy']}, by {choice['chosen_by']} ({choice['why']})",
        tuple(planned.get("left_out", ())),
        planned.get("expected_s", {}),
        {stage: (took[stage].seconds, took[stage].peak_memory_mb) for stage in stages},
    )


def slices_of(params: Params, workspace: Workspace, found: Evaluation) -> tuple[Slice, ...]:
    """Accuracy on parts of the test images, by the facts of the manifest; none where there is no manifest."""
    import pandas as pd

    from graft.evaluation.slices import slices
    from graft.modalities.registry import find_modality

    if not workspace.manifest.exists():
        return ()
    held_out = found.held_out
    facts = pd.read_parquet(workspace.manifest).set_index("path", drop=False).reindex(list(held_out.paths))
    features = find_modality(params.data.modality).slice_features
    return slices(facts, found.outputs.argmax(axis=1) == held_out.labels, held_out.units, features)


def left_out(workspace: Workspace) -> int | None:
    """Images in the manifest that the splits do not hold; None where there is no manifest."""
    import pandas as pd

    if not workspace.manifest.exists():
        return None
    taken_in = pd.read_parquet(workspace.manifest, columns=["path"])["path"]
    used = pd.read_parquet(workspace.splits, columns=["path"])["path"]
    return int((~taken_in.isin(used)).sum())


if __name__ == "__main__":
    raise SystemExit(run_stage("evaluate", run))
