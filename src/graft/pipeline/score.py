"""Stage `score`: what the delivered model says of the test images, and the figures that the gate asks for.

It and `evaluate` are the only stages that open test images, and nothing is chosen by what they find.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING

from graft.core.packed_files import open_folder
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.pipeline.execution.runner import run_stage

if TYPE_CHECKING:
    from graft.evaluation.compare.production import ProductionComparison, ProductionModel
    from graft.evaluation.cost import Footprint, PredictionCost
    from graft.evaluation.held_out import HeldOutSet
    from graft.inference.predictor import Predictions, Predictor
    from graft.stats.bootstrap import Resampling

MODEL = "the fine-tuned model"
PRODUCTION = "the production model"
# Files of reports/scores besides metrics.json.
OUTPUTS_FILE, COST_FILE = "outputs.parquet", "cost.json"


def run(params: Params, workspace: Workspace) -> None:
    """Write outputs.parquet, cost.json and metrics.json into reports/scores.

    Raises:
        DataError: the test split is empty, or a test image cannot be decoded.
        WeightsError: there is no fine-tuned model, or it was made for other classes.
    """
    from graft.core.determinism import available_cores, make_deterministic

    make_deterministic(params.compute.threads)
    # In a process of its own, which takes seconds to start: meanwhile the model is run over the test images.
    with ThreadPoolExecutor(1) as beside:
        footprint = beside.submit(measure_memory, workspace, params.compute.threads or available_cores())
        _score(params, workspace, footprint)


def _score(params: Params, workspace: Workspace, footprint: Future[Footprint]) -> None:
    from graft.core.files import atomic_dir, atomic_file, sha256, write_json
    from graft.evaluation.compare.production import find_production_model, in_words
    from graft.evaluation.evaluation import ClassifierEvaluation, ModelOutputs, evaluate, metrics
    from graft.evaluation.held_out import read_held_out
    from graft.evaluation.model_metrics import METRICS_FILE, resampling_of
    from graft.evaluation.outputs import outputs_frame
    from graft.inference.predictor import Predictor
    from graft.tasks.registry import find_task

    model = Predictor.load(workspace.finetuned)
    task = find_task(model.artifact.task)
    held_out = read_held_out(workspace.splits, model.classes, task)
    production = None
    if task.categorical:
        splits = sha256(workspace.splits)
        production = find_production_model(workspace.production_model, workspace.finetuned, model.classes, splits)
    answers = predict(workspace, held_out, model, production)
    said = ModelOutputs(answers[MODEL].outputs, model.artifact.trust, answers[MODEL].novelty)
    resampling = resampling_of(held_out, params.seed)
    compared = compare(production, answers, held_out, resampling, params.metric)
    cost = measure(workspace, model, held_out, footprint.result())
    found = evaluate(held_out, said, cost, resampling, compared)
    with atomic_dir(workspace.scores) as folder:
        with atomic_file(folder / OUTPUTS_FILE) as beside:
            outputs_frame(held_out, said).to_parquet(beside, index=False)
        write_json(folder / COST_FILE, asdict(cost))
        write_json(folder / METRICS_FILE, metrics(found))
    name, score = next(iter(found.scores.items()))
    print(f"score: {name} {score.value:.4f} on {len(held_out.labels)} test images")
    if isinstance(found, ClassifierEvaluation):
        if found.majority is not None and (warning := found.majority.in_words()) is not None:
            print(f"score: {warning}")
        if found.production is not None:
            print(f"score: {in_words(found.production)}")


def predict(
    workspace: Workspace, held_out: HeldOutSet, model: Predictor, production: ProductionModel | None
) -> dict[str, Predictions]:
    """Run the model over the test images, and in the same pass the production model where it can be compared."""
    from graft.evaluation.inference import answers_of

    raw = open_folder(workspace.raw)
    asked = {MODEL: model}
    if production is not None and production.model is not None:
        asked[PRODUCTION] = production.model
    return answers_of(asked, [raw / path for path in held_out.paths], held_out.classes)


def compare(
    production: ProductionModel | None,
    answers: dict[str, Predictions],
    held_out: HeldOutSet,
    resampling: Resampling,
    metric: str,
) -> ProductionComparison | None:
    """The model against the production model; None where there is no other."""
    from graft.evaluation.compare.production import compare_with_production

    if production is None:
        return None
    old = answers[PRODUCTION].outputs if PRODUCTION in answers else None
    return compare_with_production(production, held_out.labels, answers[MODEL].outputs, old, resampling, metric)


def measure_memory(workspace: Workspace, threads: int) -> Footprint:
    """The memory of a process that loads the model and answers for some test images by so many threads."""
    import pandas as pd

    from graft.evaluation.cost import RUNS, measure_footprint

    splits, raw = pd.read_parquet(workspace.splits, columns=["path", "split"]), open_folder(workspace.raw)
    images = [raw / path for path in splits.loc[splits["split"] == "test", "path"][:RUNS]]
    return measure_footprint(workspace.finetuned, images, threads)


def measure(workspace: Workspace, model: Predictor, held_out: HeldOutSet, memory: Footprint) -> PredictionCost:
    """Time and memory of a prediction."""
    from graft.evaluation.cost import RUNS, measure_cost

    raw = open_folder(workspace.raw)
    return measure_cost(model, workspace.finetuned, [raw / path for path in held_out.paths[:RUNS]], memory)


if __name__ == "__main__":
    raise SystemExit(run_stage("score", run))
