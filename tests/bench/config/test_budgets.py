"""At which budgets a method runs: what is typed goes before what a preset says, and nothing typed is dropped."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.experiment.parts import build_parts
from cloakbench.bench.plan.limits import read_limits
from cloakbench.bench.plan.plan import build_cells, chosen_methods

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"


def budgets(*words: str, method: str) -> list[float]:
    """Budgets of the cells of one method, each once."""
    cells = build_parts(compose_config(list(words))).cells
    return sorted({cell.budget.number for cell in cells if cell.method == method and cell.budget})


@pytest.mark.parametrize(
    ("words", "method", "expected"),
    [
        (("experiment=smoke", "method=fgsm"), "fgsm", [8]),
        (("experiment=smoke", "method=fgsm", "epsilons_255=[2,4]"), "fgsm", [2, 4]),
        (("experiment=smoke", "method=fgsm", "epsilons_255=[2,4]"), "random_sign", [2, 4]),
        (("experiment=smoke", "method=fgsm", "epsilons_255=null"), "fgsm", [8]),
        (("experiment=smoke", "method=fgsm", "method.epsilon_255=3"), "fgsm", [3]),
        (("experiment=sweep", "epsilons_255=[2,4]"), "pgd", [2, 4]),
        (("experiment=smoke", "epsilons_255=[2,4]"), "pgd", [2, 4]),
        (("experiment=smoke", "methods.pgd.epsilon_255=3"), "pgd", [3]),
        (("experiment=smoke", "methods.pgd.epsilon_255=3"), "opom_convex_hull", [8]),
        (("experiment=smoke", "method=ti_dim", "method.epsilon_255=6"), "ti_dim", [6]),
        (("experiment=smoke", "method=tip_im"), "tip_im", [12]),
        (("method=tip_im", "epsilons_255=[2]"), "tip_im", [2]),
        (("method=tip_im", "plan.limits.tip_im.epsilons_255=[4]"), "tip_im", [4]),
        (("experiment=bench", "epsilons_255=[2]"), "pgd", [2]),
        (("experiment=bench", "epsilons_255=[2]"), "tip_im", [8]),
        (("experiment=bench", "~methods.apf"), "pgd", [4, 8]),
    ],
)
def test_what_is_typed_goes_before_what_a_preset_says(
    words: tuple[str, ...], method: str, expected: list[float]
) -> None:
    assert budgets(*words, method=method) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("method=fgsm", "epsilons_255=[2]", "method.epsilon_255=3"), "method.epsilon_255 and epsilons_255 both say"),
        (("epsilons_255=[2]", "methods.pgd.epsilon_255=3"), "methods.pgd.epsilon_255 and epsilons_255 both say"),
        (
            ("method=fgsm", "+plan.limits.fgsm.epsilons_255=[2]", "method.epsilon_255=3"),
            "method.epsilon_255 and plan.limits.fgsm.epsilons_255 both say",
        ),
        (("method=lowkey", "epsilons_255=[4]"), r"epsilons_255=\[4\] has no effect: lowkey has no budget"),
        (("method=fgsm", "methods.pgd.epsilon_255=3"), "methods.pgd.epsilon_255 has no effect with method=fgsm"),
        (("controls.random_sign.epsilon_255=3",), "controls.random_sign.epsilon_255 has no effect"),
        (("method=fgsm", "+plan.limits.nobody.people=3"), "plan.limits names nobody"),
        (("method=fgsm", "+plan.limits={pgd: {people: 3}}"), "plan.limits names pgd"),
        (("~methods.pgd", "+plan.limits.nobody={people: 3}"), "plan.limits names nobody"),
    ],
)
def test_what_would_be_dropped_in_silence_is_one_line(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        build_parts(compose_config(["experiment=smoke", *words]))
    assert "\n" not in str(caught.value)


def test_limits_of_methods_that_are_not_chosen_do_not_apply() -> None:
    config = compose_config(["method=pgd"])
    assert read_limits(config, chosen_methods(config)) == {}
    config = compose_config(["method=apf"])
    limits = read_limits(config, chosen_methods(config))
    assert set(limits) == {"apf"}
    assert limits["apf"].people == 10


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), {7.65, 16.0}),
        (("protocols.poisoning.epsilons_255=[4]",), {4.0, 16.0}),
        (("protocols.poisoning.methods.rem.epsilon_255=5",), {5.0, 7.65, 16.0}),
        (("method=em_class",), {8.0}),
        (("method=em_class", "protocols.poisoning.epsilons_255=[2,4]"), {2.0, 4.0}),
        (("method=em_class", "method.epsilon_255=3"), {3.0}),
    ],
)
def test_the_methods_of_a_protocol_have_the_same_rule(words: tuple[str, ...], expected: set[float]) -> None:
    cells = build_cells(compose_config(["experiment=survey_fig2", *words]), "protocols.poisoning.")
    assert {cell.budget.number for cell in cells if cell.budget} == expected


@pytest.mark.parametrize(
    "words",
    [
        ("epsilons_255=[4]",),
        ("method=em_class", "protocols.poisoning.epsilons_255=[4]", "method.epsilon_255=3"),
        ("method=em_class", "protocols.poisoning.more_epsilons_255.em_class=[4]"),
        ("method=em_class", "protocols.poisoning.methods.rem.epsilon_255=4"),
    ],
)
def test_budgets_of_poisoning_are_not_dropped_either(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"has no effect|both say"):
        build_parts(compose_config(["experiment=survey_fig2", *words]))


def test_what_was_typed_is_noted_and_is_no_part_of_a_result() -> None:
    config = compose_config(["experiment=smoke", "method=fgsm", "plan.limits={}", "~transforms", "seed=1"])
    assert list(config.given) == ["experiment", "method", "plan.limits", "seed", "~transforms"]


def test_methods_of_an_experiment_without_targets_are_its_own_where_a_judge_of_a_protocols_own_is_asked() -> None:
    words = ["experiment=tiny_counting", "protocol@protocols.poisoning=poisoning_reduced", "method=fgsm"]
    words += ["+model@surrogates.cosface_ir=cosface_ir", "+plan.limits.fgsm.people=1", "epsilons_255=[4]"]
    config = compose_config(words, config_dirs=[str(CONFIG_DIR)])
    cells = build_parts(config).cells
    assert {(cell.method, cell.budget.epsilon_255) for cell in cells if cell.budget} == {
        ("fgsm", 4),
        ("random_sign", 4),
    }
    assert "fgsm" not in chosen_methods(config, "protocols.poisoning.")
