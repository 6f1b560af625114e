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
    "great_expectations": {"validation"},
    "bentoml": {"serve"},
    "starlette": {"serve"},
    "fastapi": {"serve"},
    "httpx": {"client.py"},
    "prefect": set(),
    "dvc": {"versions"},
    "dvc_data": {"versions"},
    "torchvision": {"vision.py"},
    "typer": {"cli.py"},
}
# The rings above the rooms, which no room may know.
OUTER = ("graft.pipeline", "graft.cli.main")
# The outermost doors of graft itself, which are no rooms.
DOORS = {"stages", "cli.py", "command"}


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


def room_of(file: Path) -> str:
    """The folder or file directly below src/graft that a file belongs to."""
    return file.relative_to(GRAFT).parts[0]


def is_of(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


GRAFT_IMPORTS = [found for file in python_files(GRAFT) for found in imports_of(file)]
FLOWS_IMPORTS = [found for file in python_files(FLOWS) for found in imports_of(file)]


def test_the_reader_sees_imports() -> None:
    """Were the reading broken, every rule below would hold in silence."""
    assert any(found.module == "torch" for found in GRAFT_IMPORTS)
    assert any(is_of(found.module, "dvc.repo") for found in FLOWS_IMPORTS)
    assert any(not found.at_import for found in FLOWS_IMPORTS)


@pytest.mark.parametrize("tool", OWNERS)
def test_a_tool_is_imported_by_its_owner_only(tool: str) -> None:
    owners = OWNERS[tool]
    strangers = [str(item) for item in GRAFT_IMPORTS if is_of(item.module, tool) and room_of(item.file) not in owners]
    assert strangers == []


def test_graft_never_imports_flows() -> None:
    assert [str(found) for found in GRAFT_IMPORTS if is_of(found.module, "flows")] == []


def test_rooms_never_import_stages_or_the_command_line() -> None:
    inner = [found for found in GRAFT_IMPORTS if room_of(found.file) not in DOORS]
    assert [str(found) for found in inner if any(is_of(found.module, outer) for outer in OUTER)] == []


def test_stages_never_import_the_command_line() -> None:
    stages = [found for found in GRAFT_IMPORTS if room_of(found.file) == "stages"]
    assert [str(found) for found in stages if is_of(found.module, "graft.cli.main")] == []


def test_only_the_graph_touches_dvc_and_flows_know_no_rooms() -> None:
    ground = {"errors", "files", "telemetry", "workspace", "config", "settings", "journal", "parent"}
    # What changes the model in use, looks for changed or missing data, or judges what the service was asked has a flow
    # that says what one room does; no flow knows how images are read or models are made.
    ground = {f"graft.{name}" for name in (*ground, "versions", "monitor", "images.changes", "stages.locate")}
    strangers = [found for found in FLOWS_IMPORTS if is_of(found.module, "dvc") and found.file.name != "graph.py"]
    assert [str(found) for found in strangers] == []
    rooms = [found for found in FLOWS_IMPORTS if is_of(found.module, "graft")]
    assert [str(found) for found in rooms if not any(is_of(found.module, name) for name in ground)] == []


def calls() -> Iterator[tuple[Path, ast.Call, str]]:
    for file in [*python_files(GRAFT), *python_files(FLOWS)]:
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Call):
                yield file, node, ast.unparse(node.func)


def place(file: Path, node: ast.AST) -> str:
    return f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


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
