"""Creates nodes and constants of ONNX graphs, and cleans up graphs after nodes were replaced."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import onnx_ir as ir
from onnx_ir.convenience import replace_all_uses_with

CONTRIB = "com.microsoft"
"""Domain of ONNX Runtime's own operators."""


class NodeMaker:
    """Collects nodes and initializers until they are inserted into a graph.

    Names are stored in the package's files, so changing one changes the package's digests.
    """

    def __init__(self, constants: str = "constant_", single_output: str = "output", has_types: bool = True) -> None:
        """Set the naming scheme.

        Args:
            constants: Prefix of constants' names.
            single_output: Name of the output of a node that has only one.
            has_types: Whether the graph states types and shapes of initializers. Runtimes can do without.
        """
        self.nodes: list[ir.Node] = []
        self.initializers: dict[str, ir.Value] = {}
        self._constants: dict[tuple, ir.Value] = {}
        self._prefix = constants
        self._single_output = single_output
        self._has_types = has_types

    def op(
        self,
        name: str,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        domain: str = "",
    ) -> ir.Value:
        """The output of a new node."""
        (value,) = self._node(name, op_type, inputs, 1, attributes, domain)
        value.name = f"{name}/{self._single_output}"
        return value

    def ops(
        self,
        name: str,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        count: int,
        attributes: Mapping[str, Any] | None = None,
        domain: str = "",
    ) -> Sequence[ir.Value]:
        """The `count` outputs of a new node."""
        values = self._node(name, op_type, inputs, count, attributes, domain)
        for index, value in enumerate(values):
            value.name = f"{name}/output_{index}"
        return values

    def _node(
        self,
        name: str,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        count: int,
        attributes: Mapping[str, Any] | None,
        domain: str,
    ) -> Sequence[ir.Value]:
        self.nodes.append(ir.node(op_type, inputs, attributes or {}, domain=domain, name=name, num_outputs=count))
        return self.nodes[-1].outputs

    def constant(self, values: Any, dtype: Any) -> ir.Value:
        """A small constant; equal ones are stored once."""
        array = np.array(values, dtype)
        key = (array.tobytes(), array.shape, str(array.dtype))
        if key not in self._constants:
            self._constants[key] = self.initializer(f"{self._prefix}{len(self._constants)}", array)
        return self._constants[key]

    def initializer(self, name: str, array: np.ndarray) -> ir.Value:
        """A named constant."""
        tensor = ir.tensor(array, name=name)
        return self.stored(tensor) if self._has_types else self._add(ir.Value(name=name, const_value=tensor))

    def stored(self, tensor: Any) -> ir.Value:
        """An initializer with the content of `tensor`, which may be stored in a file."""
        typed = ir.TensorType(tensor.dtype)
        return self._add(ir.Value(name=tensor.name, const_value=tensor, type=typed, shape=tensor.shape))

    def _add(self, value: ir.Value) -> ir.Value:
        self.initializers[name_of(value)] = value
        return value

    def insert_before(self, graph: ir.Graph, node: ir.Node) -> None:
        """Move the collected nodes and initializers into `graph`, before `node`."""
        graph.insert_before(node, self.nodes)
        self._register_initializers(graph)

    def insert_after(self, graph: ir.Graph, node: ir.Node) -> None:
        """Move the collected nodes and initializers into `graph`, after `node`."""
        graph.insert_after(node, self.nodes)
        self._register_initializers(graph)

    def append(self, graph: ir.Graph) -> None:
        """Move the collected nodes and initializers to the end of `graph`."""
        graph.extend(self.nodes)
        self._register_initializers(graph)

    def _register_initializers(self, graph: ir.Graph) -> None:
        for value in self.initializers.values():
            graph.register_initializer(value)
        self.nodes, self.initializers = [], {}

    @contextmanager
    def inserting_before(self, graph: ir.Graph, node: ir.Node) -> Generator[None]:
        """Insert nodes created in this context before `node`; nodes collected earlier stay collected."""
        nodes, self.nodes = self.nodes, []
        yield
        self.insert_before(graph, node)
        self.nodes = nodes


def name_of(value: ir.Value | ir.Node) -> str:
    """The name of a value or node that has one."""
    assert value.name is not None
    return value.name


def input_of(node: ir.Node, index: int) -> ir.Value:
    """A required input of `node`."""
    value = node.inputs[index]
    assert value is not None
    return value


def producer_of(value: ir.Value) -> ir.Node:
    """The node that computes `value`."""
    node = value.producer()
    assert node is not None
    return node


def tensor_of(value: ir.Value) -> ir.TensorProtocol:
    """The content of an initializer."""
    assert value.const_value is not None
    return value.const_value


def external_tensor_of(value: ir.Value) -> ir.ExternalTensor:
    """The content of an initializer that is stored in a weights file."""
    assert isinstance(value.const_value, ir.ExternalTensor)
    return value.const_value


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """The shape of an initializer."""
    return cast("tuple[int, ...]", tuple(tensor_of(value).shape))


def replace_value(old: ir.Value, new: ir.Value) -> None:
    """Replace `old` with `new`, which gets its name, type, shape and readers."""
    replace_all_uses_with(old, new, replace_graph_outputs=True)
    new.name, new.type, new.shape = old.name, old.type, old.shape
    old.name = None


def drop_unused(graph: ir.Graph) -> None:
    """Remove nodes and initializers that nothing reads any more."""
    for node in reversed(list(graph)):
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses():
            del graph.initializers[name]


def shorten_names(graph: ir.Graph) -> None:
    """Shorten names, which visitors download. Graph inputs and outputs keep theirs, because runtimes use them."""
    fixed = {value.name for value in (*graph.inputs, *graph.outputs)}
    values = [*graph.initializers.values(), *(output for node in graph for output in node.outputs)]
    for index, value in enumerate(values):
        if value.name and value.name not in fixed:
            value.name = f"v{index:x}"
    for node in graph:
        node.name = None
