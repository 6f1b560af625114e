"""A model's way from images to the feature vector as a graph, and the places where a single tensor carries all of it.

Only the model's own code between its modules is traced (``torch.fx``); the modules stay whole, as they are. At a place
where nothing but one tensor is needed by everything after it, the model can be cut into two modules that run one after
the other. What shapes say (batch, rows, columns) may be needed later too: the batch is read off the tensor again, and
the rest is the same for every image, because a network is built for one size.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, fx, nn

BATCH = 3  # images that a model is tried with: a number that no side of a map has


@dataclass(frozen=True)
class Trace:
    """The graph of a model and what its nodes gave for a try.

    Attributes:
        root: what was traced.
        nodes: in the order they run, without input and output.
        values: what each node gave.
        entry: the node of the images.
        result: the node of the feature vector.
        constant: nodes that depend on no more of the images than their shape, such as rotary positions.
    """

    root: nn.Module
    nodes: tuple[fx.Node, ...]
    values: dict[fx.Node, Any]
    entry: fx.Node
    result: fx.Node
    constant: frozenset[fx.Node]

    def parameters(self, node: fx.Node) -> dict[str, nn.Parameter]:
        """The parameters that a node uses itself, by their names in the root."""
        target = str(node.target)
        if node.op == "call_module":
            return {f"{target}.{name}": p for name, p in self.root.get_submodule(target).named_parameters()}
        if node.op == "get_attr" and isinstance(found := operator.attrgetter(target)(self.root), nn.Parameter):
            return {target: found}
        return {}


class _Glue(fx.Tracer):
    """Traces what stands between modules; looks into plain sequences and into the modules it is told to open.

    Functions that the libraries' modules define or import stay one step: they may ask for values.
    """

    def __init__(self, opened: frozenset[nn.Module], libraries: Iterable[ModuleType]) -> None:
        super().__init__(autowrap_modules=(math, *libraries))  # type: ignore[arg-type]  # any number, not one
        self.opened = opened

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not (type(m) is nn.Sequential or m in self.opened)


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps what every node gave."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        # In place operations later on would change a tensor that is kept, but never its shape, which is what is asked.
        self.values[n] = super().run_node(n)
        return self.values[n]


def trace(root: nn.Module, images: Tensor, together: Callable[[str], bool]) -> Trace:
    """Trace ``root``, in eval mode, and try it with ``images``.

    Args:
        root: images -> feature vector.
        images: (BATCH, 3, side, side).
        together: whether the module of this name need not be looked into.

    Raises:
        Exception: whatever the model's code raises when it is run with placeholders instead of tensors.
    """
    opened: frozenset[nn.Module] = frozenset()
    libraries = {sys.modules[type(module).__module__] for module in root.modules()} - {sys.modules[__name__]}
    while True:
        module = fx.GraphModule(root, _Glue(opened, libraries).trace(root))
        module.graph.eliminate_dead_code()
        named = {str(node.target) for node in module.graph.nodes if node.op == "call_module"}
        apart = {root.get_submodule(name) for name in named if not together(name)} - opened
        if not apart:
            break
        opened |= apart
    recorder = _Recorder(module)
    with torch.no_grad():
        recorder.run(images)
    entry, *nodes, output = module.graph.nodes
    constant: set[fx.Node] = set()
    for node in nodes:
        given = [before for before in node.all_input_nodes if not is_shape(recorder.values[before])]
        if constant.issuperset(given) and not is_shape(recorder.values[node]):
            constant.add(node)
    return Trace(root, tuple(nodes), recorder.values, entry, output.args[0], frozenset(constant))


def cuts(traced: Trace) -> dict[int, fx.Node]:
    """After how many nodes a single tensor of BATCH rows carries everything, ascending, and the node that gives it."""
    last_use = dict.fromkeys((traced.entry, *traced.nodes), -1)
    for index, node in enumerate(traced.nodes):
        for given in node.all_input_nodes:
            last_use[given] = index
    places = {}
    for index in range(len(traced.nodes)):
        live = [
            earlier
            for earlier in (traced.entry, *traced.nodes[: index + 1])
            if last_use[earlier] > index and earlier not in traced.constant and not is_shape(traced.values[earlier])
        ]
        if len(live) == 1 and live[0] is not traced.entry and _carries(traced.values[live[0]]):
            places[index + 1] = live[0]
    return {**places, len(traced.nodes): traced.result}


def _carries(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim in {2, 3, 4} and value.shape[0] == BATCH


def is_shape(value: Any) -> bool:
    """A whole number, or a tuple of them."""
    if isinstance(value, tuple | list):
        return all(is_shape(part) for part in value)
    return isinstance(value, int)


def piece(traced: Trace, nodes: Sequence[fx.Node], before: fx.Node, after: fx.Node) -> nn.Module:
    """Some nodes in a row as a module: the tensor of the node ``before`` them -> the tensor of the node ``after``."""
    needed = [node for node in nodes if node not in traced.constant]
    if (chain := _chain(traced, needed, before)) is not None:
        return nn.Sequential(*chain)
    graph = fx.Graph()
    made: dict[fx.Node, Any] = {before: graph.placeholder("x")}
    held: dict[str, Any] = {}

    def have(node: fx.Node) -> Any:
        if node not in made:
            if node in traced.constant:
                copy(node)
            else:  # it lies before, and so can only say a shape
                made[node] = _again(graph, made[before], traced.values[node])
        return made[node]

    def copy(node: fx.Node) -> None:
        if node.op in {"call_module", "get_attr"}:
            held[str(node.target)] = operator.attrgetter(str(node.target))(traced.root)
        made[node] = graph.node_copy(node, have)

    for node in needed:
        copy(node)
    graph.output(made[after])
    return fx.GraphModule(held, graph, class_name="Piece")


def _again(graph: fx.Graph, carrier: fx.Node, value: Any) -> Any:
    """A shape that is needed past a cut: the batch is read off the carrying tensor, other sides are what they were."""
    if isinstance(value, tuple | list):
        return tuple(_again(graph, carrier, part) for part in value)
    return graph.call_method("size", (carrier, 0)) if value == BATCH else value


def _chain(traced: Trace, nodes: Sequence[fx.Node], before: fx.Node) -> list[nn.Module] | None:
    """The modules of nodes that do no more than run one after the other; else None."""
    modules = []
    for node in nodes:
        if node.op != "call_module" or node.args != (before,) or node.kwargs:
            return None
        modules.append(traced.root.get_submodule(str(node.target)))
        before = node
    return modules
