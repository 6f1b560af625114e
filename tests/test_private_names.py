"""graft uses other tools by their public names: no private module, no private name, no patched method."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = (
    "bentoml",
    "_bentoml_sdk",
    "_bentoml_impl",
    "dvc",
    "dvc_data",
    "prefect",
    "starlette",
    "uvicorn",
    "fastapi",
    "circus",
)
# Attributes of their objects that are private, or that were once replaced by ours.
PRIVATE = re.compile(
    r"(?<!self)\._run\b|\b_reproduce_stage\b|\b_wait_for_lock\b|\bBentoMLContainer\b|\b_internal\b|\b_bentoml_(sdk|impl)\b"
)
# "path: what is used", each with its reason. At most five.
ALLOWED: dict[str, str] = {}


def sources() -> list[Path]:
    return sorted(path for folder in ("src/graft", "flows") for path in (ROOT / folder).rglob("*.py"))


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def private_imports(tree: ast.AST) -> Iterator[str]:
    """Imports of a tool's private module, or of a private name from a public one."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name for name in names if name.partition(".")[0] in TOOLS and is_private(name))


def patches(tree: ast.AST) -> Iterator[str]:
    """Assignments to an attribute of a name that was imported from a tool."""
    imported = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (node.module if isinstance(node, ast.ImportFrom) and node.module else alias.name).partition(".")[0] in TOOLS
    }
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            base = target
            while isinstance(base, ast.Attribute):
                base = base.value
            if isinstance(target, ast.Attribute) and isinstance(base, ast.Name) and base.id in imported:
                yield ast.unparse(target)


def found_in(text: str) -> set[str]:
    tree = ast.parse(text)
    # Docstrings and comments may name what is not used.
    code = ast.unparse(tree)
    return {*private_imports(tree), *patches(tree), *(match.group() for match in PRIVATE.finditer(code))}


@pytest.mark.parametrize(
    "text",
    [
        "from bentoml._internal.models import ModelStore",
        "from _bentoml_sdk import Service",
        "from bentoml.container import BentoMLContainer",
        "import prefect._internal.concurrency",
        "from dvc.repo.reproduce import _reproduce_stage",
        "import uvicorn\nuvicorn.Server.shutdown = None",
        "from dvc.repo import Repo\nRepo().stage._run()",
    ],
)
def test_private_names_are_seen(text: str) -> None:
    assert found_in(text)


def test_only_public_names_of_other_tools_are_used() -> None:
    found = {f"{path.relative_to(ROOT)}: {name}" for path in sources() for name in found_in(path.read_text("utf-8"))}
    assert found == set(ALLOWED)


def test_the_allow_list_is_short_and_reasoned() -> None:
    assert len(ALLOWED) <= 5 and all(ALLOWED.values())
