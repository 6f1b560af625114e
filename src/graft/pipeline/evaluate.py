"""Stage `evaluate`: the only one that opens test images; writes the figures, the tables and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from graft.core.config import deciding
from graft.core.packed_files import open_folder
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.pipeline.execution.runner import run_stage

if TYPE_CHECKING:
    from graft.evaluation.compare.production import ProductionModel
    from graft.evaluation.evaluation import Evaluation, Probabilities
    from graft.evaluation.held_out import HeldOutSet
    from graft.evaluation.slices import Slice
    from graft.inference.predictor import Predictor
    from graft.reporting.context import ReportContext

MODEL = "the fine-tuned model"
SCRATCH = "scratch"
PRODUCTION = "the production model"
# Doubted labels that the report shows as pictures.
MOST_DOUBTED = 12


def run(params: Params, workspace: Workspace) -> None:
    """Write metrics.json, the tables, report.html and model_card.md into reports/evaluation.

    Raises:
        DataError: the test split is empty, or a test image cannot be decoded.
        WeightsError: there is no fine-tuned model, or it was made for other classes.
    """
    import torch

    from graft.core.determinism import make_deterministic
    from graft.core.files import atomic_dir, sha256, write_csv, write_text
    from graft.evaluation.compare.production import find_production_model, in_words
    from graft.evaluation.cost import RUNS, measure_cost, measure_footprint
    from graft.evaluation.evaluation import ClassifierEvaluation, evaluate, write_tables
    from graft.evaluation.explain.label_issues import label_issues_table
    from graft.evaluation.held_out import read_held_out
    from graft.evaluation.model_metrics import resampling_of
    from graft.evaluation.slices import slices_table
    from graft.inference.predictor import Predictor
    from graft.reporting.figures.plots import write_figures
    from graft.reporting.html import render_html
    from graft.reporting.model_card import render_model_card
    from graft.tasks.registry import find_task

    make_deterministic(params.compute.threads)
    model = Predictor.load(workspace.finetuned)
    task = find_task(model.artifact.task)
    held_out = read_held_out(workspace.splits, model.classes, task)
    production = None
    if task.categorical:
        splits = sha256(workspace.splits)
        production = find_production_model(workspace.production_model, workspace.finetuned, model.classes, splits)
    said = predict_all(params, workspace, held_out, {MODEL: model, **controls(params, workspace, model)}, production)
    raw = open_folder(workspace.raw)
    images = [raw / path for path in held_out.paths[:RUNS]]
    memory = measure_footprint(workspace.finetuned, images, torch.get_num_threads())
    cost = measure_cost(model, workspace.finetuned, images, memory)
    found = evaluate(held_out, said, cost, resampling_of(held_out, params.seed))
    context = report_context(params, workspace, model, found)
    page, model_card = render_html(context), render_model_card(context)
    with atomic_dir(workspace.evaluation) as folder:
        write_tables(found, folder)
        if task.categorical:
            write_csv(folder / "slices.csv", slices_table(context.slices))
            write_csv(folder / "suspects.csv", label_issues_table(context.suspects))
        write_figures(context.figures, folder)
        write_text(folder / "report.html", page)
        write_text(folder / "model_card.md", model_card)
    name, score = next(iter(found.scores.items()))
    print(f"evaluate: {name} {score.value:.4f} on {len(held_out.labels)} test images")
    if isinstance(found, ClassifierEvaluation):
        if found.majority is not None and (warning := found.majority.in_words()) is not None:
            print(f"evaluate: {warning}")
        if found.production is not None:
            print(f"evaluate: {in_words(found.production)}")
        print(f"evaluate: transfer {found.transfer.verdict}")
    print(f"evaluate: report: {workspace.evaluation / 'report.html'}")


def controls(params: Params, workspace: Workspace, model: Predictor) -> dict[str, Predictor]:
    """The models to compare with, by folder name; pairs of which one is missing are left out.

    Where the winner itself began without weights nothing was transferred, so there is nothing to compare.
    """
    from graft.evaluation.held_out import check_classes
    from graft.inference.artifact import ARTIFACT_FILE
    from graft.inference.predictor import Predictor

    if not params.train.control or model.artifact.weights == "none":
        return {}
    wanted = [[SCRATCH], *(_pair(count) for count in params.train.label_counts)]
    present = [names for names in wanted if all((workspace.controls / name / ARTIFACT_FILE).exists() for name in names)]
    found = {name: Predictor.load(workspace.controls / name) for names in present for name in names}
    for name, control in found.items():
        check_classes(control.classes, model.classes, f"the control {name!r}")
    return found


def predict_all(
    params: Params,
    workspace: Workspace,
    held_out: HeldOutSet,
    models: dict[str, Predictor],
    production: ProductionModel | None = None,
) -> Probabilities:
    """Run every model over the test images in one pass, the production model as well."""
    from graft.evaluation.compare.fold_pairs import PAIRS_FILE, compare_over_folds, read_pairs
    from graft.evaluation.evaluation import Probabilities
    from graft.evaluation.inference import answers_of
    from graft.selection.similarity import SIMILARITY_FILE, read_similarity

    raw = open_folder(workspace.raw)
    images = [raw / path for path in held_out.paths]
    asked = {**models}
    if production is not None and production.model is not None:
        asked[PRODUCTION] = production.model
    answers = answers_of(asked, images, held_out.classes)
    said = {name: answer.outputs for name, answer in answers.items()}
    pairs = {count: _pair(count) for count in params.train.label_counts if _pair(count)[0] in said}
    return Probabilities(
        model=said[MODEL],
        scratch=said.get(SCRATCH),
        pairs={count: (said[first], said[second]) for count, (first, second) in pairs.items()},
        no_control=why_no_control(params, models[MODEL]),
        folds=compare_over_folds(read_pairs(workspace.training / PAIRS_FILE)),
        similarity=read_similarity(workspace.selection / SIMILARITY_FILE),
        budgets=budgets(models),
        trust=models[MODEL].artifact.trust,
        novelty=answers[MODEL].novelty,
        production=production,
        production_outputs=said.get(PRODUCTION),
        metric=params.metric,
    )


def budgets(models: Mapping[str, Predictor]) -> dict[int | None, Mapping[str, Any]]:
    """What the controls were trained with, as their model.json says: by labels per class, and under None on all."""
    found: dict[int | None, Mapping[str, Any]] = {}
    for name, model in models.items():
        budget = model.artifact.provenance.get("budget")
        if isinstance(budget, Mapping):
            found[None if name == SCRATCH else int(name.split("-")[1])] = budget
    return found


def why_no_control(params: Params, model: Predictor) -> str:
    """What the report says where there is nothing to compare with."""
    if model.artifact.weights == "none":
        return "the chosen model itself began without pretrained weights, so nothing was transferred"
    if not params.train.control:
        return "no control was trained, because train.control is false in params.yaml"
    return "there is no control in models/controls/scratch; run the finetune stage again"


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
    )
    if not isinstance(found, ClassifierEvaluation):
        return context
    raw = open_folder(workspace.raw)
    mistakes, saliency = show_mistakes(model, raw, found.held_out, found.outputs)
    suspects = find_issues(read_out_of_fold(workspace.selection / "out_of_fold.parquet"))
    return replace(
        context,
        mistakes=mistakes,
        saliency=saliency,
        slices=slices_of(params, workspace, found),
        suspects=suspects,
        label_issue_pictures=show_label_issues(raw, suspects.found[:MOST_DOUBTED], find_modality(params.data.modality)),
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


def _pair(count: int) -> Sequence[str]:
    return [f"labels-{count}-transfer", f"labels-{count}-scratch"]


if __name__ == "__main__":
    raise SystemExit(run_stage("evaluate", run))
