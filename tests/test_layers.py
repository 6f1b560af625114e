"""Imports point inward, each tool has one owner, and what is heavy or dangerous is imported in one place only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GRAFT = ROOT / "src" / "graft"
FLOWS = ROOT / "flows"

# Who may import what: a folder or file of src/graft for each tool of the outer world that has one owner.
OWNERS = {
    "great_expectations": {"data/validation"},
    "bentoml": {"serving", "registry/model_store.py"},
    "starlette": {"serving"},
    "fastapi": {"serving"},
    "httpx": {"client.py"},
    "prefect": set(),
    "dvc": {"registry"},
    "dvc_data": {"registry"},
    "torchvision": {"core/compat/torchvision.py"},
    "typer": {"cli/main.py"},
}
# The packages of graft, upper layers first: a module imports from its own package and from those below it. Lazy and
# type-only imports count.
# fmt: off
LAYERS = (
    "cli", "client", "pipeline", "serving", "registry", "monitoring", "reporting", "evaluation", "planning", "tuning",
    "selection", "pretraining", "training", "inference", "features", "data", "calibration", "augmentation", "models",
    "modalities", "tasks", "metrics", "stats", "parallel", "core",
)
# fmt: on


@dataclass(frozen=True)
class Import:
    """One import statement's module, where it stands, and whether it runs when the file is imported."""

    module: str
    file: Path
    line: int
    at_import: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imports_of(file: Path) -> Iterator[Import]:
    """Every import but those for the type checker alone, relative ones made absolute."""
    package = ".".join(file.relative_to(GRAFT.parent if GRAFT in file.parents else ROOT).with_suffix("").parts)

    def visit(node: ast.AST, at_import: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, file, node.lineno, at_import)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: -node.level]
                base = ".".join([*parent, base]).rstrip(".")
            # `from graft import stages` names a module as its last part.
            yield from (Import(f"{base}.{alias.name}", file, node.lineno, at_import) for alias in node.names)
        inner = at_import and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inner)

    return visit(tree_of(file), True)


def package_of(module: str) -> str:
    """The package directly below graft that a dotted module belongs to."""
    return module.removeprefix("graft.").partition(".")[0]


def name_of(file: Path) -> str:
    """The dotted name of a module of graft, without ``graft.``."""
    return ".".join(file.relative_to(GRAFT).with_suffix("").parts).removesuffix(".__init__")


def is_of(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


GRAFT_IMPORTS = [found for file in python_files(GRAFT) for found in imports_of(file)]
FLOWS_IMPORTS = [found for file in python_files(FLOWS) for found in imports_of(file)]


def test_the_reader_sees_imports() -> None:
    """Were the reading broken, every rule below would hold in silence."""
    assert any(found.module == "torch" for found in GRAFT_IMPORTS)
    assert any(is_of(found.module, "dvc.lock") for found in FLOWS_IMPORTS)
    assert any(not found.at_import for found in FLOWS_IMPORTS)


@pytest.mark.parametrize("tool", OWNERS)
def test_a_tool_is_imported_by_its_owner_only(tool: str) -> None:
    def is_owner(file: Path) -> bool:
        return any(file.is_relative_to(GRAFT / owner) for owner in OWNERS[tool])

    strangers = [str(item) for item in GRAFT_IMPORTS if is_of(item.module, tool) and not is_owner(item.file)]
    assert strangers == []


def test_graft_never_imports_flows() -> None:
    assert [str(found) for found in GRAFT_IMPORTS if is_of(found.module, "flows")] == []


def test_every_package_has_a_layer() -> None:
    assert {package_of(name_of(file)) for file in python_files(GRAFT)} - {"__init__"} == set(LAYERS)


def modules_imported(file: Path) -> Iterator[str]:
    """The modules of graft that a file imports in any way, without ``graft.``."""
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.ImportFrom) and is_of(node.module or "", "graft"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}".removeprefix("graft.")
                path = GRAFT.joinpath(*whole.split("."))
                is_module = path.with_suffix(".py").is_file() or path.is_dir()
                yield whole if is_module else str(node.module).removeprefix("graft.")
        elif isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("graft.") for alias in node.names if is_of(alias.name, "graft"))


def test_no_import_points_up() -> None:
    upward = set()
    for file in python_files(GRAFT):
        here = name_of(file)
        for module in modules_imported(file):
            if module in {"graft", "__init__"} or here == "__init__":
                continue
            if LAYERS.index(package_of(module)) < LAYERS.index(package_of(here)):
                upward.add((here, module))
    assert upward == set()


def test_only_the_graph_touches_dvc_and_flows_import_few_packages() -> None:
    # Flows promote, watch data, and judge what the service was asked; none knows how samples are read or models made.
    names = ("core", "registry", "monitoring", "data.changes", "pipeline.locate")
    allowed = {f"graft.{name}" for name in names}
    strangers = [found for found in FLOWS_IMPORTS if is_of(found.module, "dvc") and found.file.name != "graph.py"]
    assert [str(found) for found in strangers] == []
    imported = [found for found in FLOWS_IMPORTS if is_of(found.module, "graft")]
    assert [str(found) for found in imported if not any(is_of(found.module, name) for name in allowed)] == []


def calls() -> Iterator[tuple[Path, ast.Call, str]]:
    for file in [*python_files(GRAFT), *python_files(FLOWS)]:
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Call):
                yield file, node, ast.unparse(node.func)


def place(file: Path, node: ast.AST) -> str:
    return f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def test_a_class_name_stands_for_one_class() -> None:
    """A search for it finds one place."""
    places: dict[str, list[str]] = {}
    for file in [*python_files(GRAFT), *python_files(FLOWS)]:
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(place(file, node))
    assert [found for found in places.values() if len(found) > 1] == []


def test_images_are_opened_in_one_place_only() -> None:
    openers = {"Image.open", "PIL.Image.open", "cv2.imread", "plt.imread", "io.read_image", "io.decode_image"}
    found = {place(file, node) for file, node, name in calls() if name in openers}
    assert {item.partition(":")[0] for item in found} <= {"src/graft/modalities/image/decode.py"}, found


def test_nothing_is_unpickled() -> None:
    unsafe = {"pickle", "cPickle", "dill", "joblib", "shelve"}
    imported = [str(item) for item in GRAFT_IMPORTS + FLOWS_IMPORTS if item.module.partition(".")[0] in unsafe]
    assert imported == []
    for file, node, name in calls():
        if name == "torch.load":
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert given.get("weights_only") == "True", place(file, node)
        if name in {"np.load", "numpy.load"}:
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert given.get("allow_pickle", "False") == "False", place(file, node)


def test_the_command_line_starts_without_anything_heavy() -> None:
    heavy = {"torch", "torchvision", "timm", "pandas", "sklearn", "prefect", "dvc", "bentoml", "great_expectations"}
    code = f"import sys, graft.cli.main; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
