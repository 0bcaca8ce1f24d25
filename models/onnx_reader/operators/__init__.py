"""Operators of the ONNX specification as torch functions, opsets 7 to 28."""

from __future__ import annotations

from cloakbench.models.onnx_reader.operators import normalisation, resampling
from cloakbench.models.onnx_reader.operators.elementwise import ELEMENTWISE, Operator
from cloakbench.models.onnx_reader.operators.indexing import INDEXING
from cloakbench.models.onnx_reader.operators.linear import LINEAR
from cloakbench.models.onnx_reader.operators.normalisation import NORMALISATION
from cloakbench.models.onnx_reader.operators.pooling import POOLING
from cloakbench.models.onnx_reader.operators.quantised import QUANTISED
from cloakbench.models.onnx_reader.operators.reduction import REDUCTION
from cloakbench.models.onnx_reader.operators.resampling import RESAMPLING
from cloakbench.models.onnx_reader.operators.shaping import SHAPING

OLDEST, NEWEST = 7, 28
"""Opsets that are read: before 7 broadcasting meant something else, after 28 the specification was not looked at."""

OPERATORS: dict[str, Operator] = {
    **ELEMENTWISE,
    **INDEXING,
    **LINEAR,
    **NORMALISATION,
    **POOLING,
    **QUANTISED,
    **REDUCTION,
    **RESAMPLING,
    **SHAPING,
}
"""What is run, beside ``Constant`` and ``If``; an attribute that a function does not name is refused, never ignored."""


def operator_of(name: str, opset: int) -> Operator | None:
    """The function of an operator as an opset means it; None where there is none."""
    if opset < 11 and name in resampling.BEFORE_11:
        return resampling.BEFORE_11[name]
    if opset < 13 and name in normalisation.BEFORE_13:
        return normalisation.BEFORE_13[name]
    return OPERATORS.get(name)
