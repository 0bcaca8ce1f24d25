"""Names and orders."""

from __future__ import annotations

from cloakbench.bench.report.labels import method_order


def test_methods_come_in_the_order_of_the_tables_and_unknown_ones_last():
    assert method_order(["zeta", "pgd", "identity", "alpha", "fgsm"]) == ["identity", "fgsm", "pgd", "alpha", "zeta"]
