"""One node of an ONNX graph, as it is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cloakbench.models.onnx_reader.operators.elementwise import Operator


@dataclass
class Step:
    """One node: ``run(*inputs, **attributes)`` gives ``outputs``; after it nobody reads ``last_use`` again."""

    run: Operator
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    label: str
    last_use: list[str] = field(default_factory=list)
