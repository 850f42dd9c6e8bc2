"""Follows an ONNX graph from its outputs to its inputs, and refuses whatever was not expected there."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from tinsmith.core.errors import ArtifactError
from tinsmith.export.onnx_nodes import input_of, producer_of, tensor_of


class GraphPatterns:
    """A graph, and which of its nodes have been understood so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.graph = ir.load(path).graph
        self.inputs = {value.name: value for value in self.graph.inputs}
        self._understood: set[ir.Node] = set()

    def refuse(self, what: str) -> ArtifactError:
        """The error to raise if the graph is not as expected."""
        return ArtifactError(
            f"{self.path.name}: no decoder plan can be made of this graph: {what}",
            "Teach export/decoder_plan.py this pattern, and the kernels of web/gpu what it computes.",
        )

    def node(self, value: ir.Value, op_type: str, attributes: Collection[str] = ()) -> ir.Node:
        """The node that computes `value`.

        Args:
            value: What the node computes.
            op_type: The operator it must have.
            attributes: The attributes it may have.

        Raises:
            ArtifactError: it has another operator, or an attribute that is not listed.
        """
        if not self.is_made_by(value, op_type):
            maker = "nothing" if value.producer() is None else producer_of(value).op_type
            raise self.refuse(f"{value.name} is computed by {maker}, expected {op_type}")
        node = producer_of(value)
        if unknown := sorted(set(node.attributes) - set(attributes)):
            raise self.refuse(f"{node.name} ({op_type}) has the attribute {unknown[0]}")
        self._understood.add(node)
        return node

    def chain(self, value: ir.Value, *op_types: str, attributes: Collection[str] = ()) -> ir.Value:
        """The first input of a chain of nodes with `op_types`, which begins at `value` and follows first inputs."""
        for op_type in op_types:
            value = input_of(self.node(value, op_type, attributes), 0)
        return value

    def is_made_by(self, value: ir.Value, op_type: str) -> bool:
        """Whether a node with this operator computes `value`."""
        node = value.producer()
        return node is not None and node.op_type == op_type

    def require_same(self, one: ir.Value | None, other: ir.Value | None, what: str) -> None:
        """Require that two values are one and the same.

        Raises:
            ArtifactError: they are not.
        """
        if one is not other:
            names = " and ".join(value.name or "" if value else "nothing" for value in (one, other))
            raise self.refuse(f"{what} should be one value, found {names}")

    def require(self, is_met: bool, what: str) -> None:
        """Raise an error that says `what` is wrong, unless `is_met`."""
        if not is_met:
            raise self.refuse(what)

    def constant(self, value: ir.Value | None) -> np.ndarray:
        """The content of an initializer."""
        if value is None or value.const_value is None:
            raise self.refuse(f"{value.name if value else 'an input'} is not a constant")
        return tensor_of(value).numpy()

    def number(self, value: ir.Value | None) -> float:
        """The content of an initializer with one element."""
        array = self.constant(value)
        self.require(array.size == 1, f"{value.name if value else ''} has {array.size} elements, expected one")
        return float(array.reshape(()))

    def check_all_understood(self) -> None:
        """Require that every node was visited.

        Raises:
            ArtifactError: a node computes something that no plan contains.
        """
        for node in self.graph:
            if node not in self._understood:
                raise self.refuse(f"nothing is known of the node {node.name} ({node.op_type})")


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """The value of an attribute, or `default` if the node does not have it."""
    return node.attributes[name].value if name in node.attributes else default
