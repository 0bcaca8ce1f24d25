"""Names and orders."""

from __future__ import annotations

from cloakbench.bench.report.labels import method_order


def test_methods_come_in_the_order_of_the_experiment_and_unknown_ones_last():
    known = ["pgd (steps=2)", "random_sign", "fgsm", "identity"]
    assert method_order(["zeta", "fgsm", "identity", "alpha", "pgd"], known) == [
        "identity",
        "pgd",
        "fgsm",
        "alpha",
        "zeta",
    ]
