"""Labels: keys that mean the same in every run, the order of methods, and budgets as printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cloakbench.bench.core.axes import in_order, split_row_name, variant_settings

CLEAN = "identity"
RANDOM_SIGN = "random_sign"
CONTROLS = (CLEAN, RANDOM_SIGN)
UNTRANSFORMED = "none"
PRINTED_TABLES = "printed_tables"
"""The fact of a setup that names the papers' tables to show in their own shape: ``report.printed``."""
COMPARED_WITH = "compared_with"
"""The fact of a setup that names the method whose differences from others are shown: ``report.compare_with``."""


def method_order(rows: Iterable[str], known: Iterable[str]) -> list[str]:
    """Unique method keys: controls, then the others in the order of the experiment, then by name; variants by numbers.

    Args:
        rows: of methods and variants.
        known: every row of the run, in the order of the experiment.
    """
    bases = (split_row_name(row)[0] for row in (*CONTROLS, *known))
    rank = {base: position for position, base in enumerate(dict.fromkeys(bases))}
    parts = {row: split_row_name(row) for row in rows}
    variants = in_order(variant for _, variant in parts.values())

    def place(row: str) -> tuple[int, str, int]:
        method, variant = parts[row]
        return rank.get(method, len(rank)), method, variants.index(variant)

    return sorted(parts, key=place)


def varied_settings(methods: Mapping[str, Mapping[str, Any]], row: str) -> dict[str, Any]:
    """What sets a row apart among the variants of its method, setting to value.

    The row of the method as composed has the values that its variants have otherwise.

    Args:
        methods: name of a row to what is known of it (`cloakbench.bench.report.index.Measured.methods`); of a run that
            was kept without its settings only the name tells.
        row: of the method or of a variant.
    """
    told = methods.get(row, {}).get("varied")
    return variant_settings(told if isinstance(told, str) and told else split_row_name(row)[1])
