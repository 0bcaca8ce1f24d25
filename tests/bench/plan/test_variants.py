"""Settings that an experiment varies: each combination is a cell of its own, made and stored as if it were composed."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.node_keys import node_settings
from cloakbench.bench.core.axes import BudgetSize, row_name, split_row_name
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.experiment.parts import build_parts
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.plan.plan import Cell, build_cells
from cloakbench.bench.plan.variants import variants_of

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
SMOKE = ("experiment=smoke",)


def cells(*words: str, method: str = "pgd") -> list[Cell]:
    return [cell for cell in build_parts(compose_config([*SMOKE, *words])).cells if cell.method == method]


def refusal(*words: str) -> str:
    with pytest.raises(ConfigError) as problem:
        cells(*words)
    assert "\n" not in str(problem.value)
    return str(problem.value)


def test_every_combination_is_a_cell_beside_the_method_as_it_is() -> None:
    found = cells("+variants.pgd={steps: [20, 2], objective: [reference]}")
    assert [(cell.variant, cell.config["steps"], cell.config["objective"]) for cell in found] == [
        ("", 10, "own"),
        ("objective=reference, steps=2", 2, "reference"),
        ("objective=reference, steps=20", 20, "reference"),
    ]
    assert [cell.row for cell in found][:2] == ["pgd", "pgd (objective=reference, steps=2)"]
    assert {cell.varied for cell in found} == {"objective=own, steps=10", *(c.variant for c in found[1:])}
    assert {cell.title for cell in found} == {"PGD"} and all("title" not in cell.config for cell in found)


def test_a_variant_has_the_settings_of_the_same_method_set_by_hand() -> None:
    [_, variant] = cells("+variants.pgd.steps=[2]", "method=pgd")
    [by_hand] = cells("method=pgd", "method.steps=2")
    assert node_settings(variant.config) == node_settings(by_hand.config)
    assert (variant.budget, variant.surrogate, variant.surrogates) == (
        by_hand.budget,
        by_hand.surrogate,
        by_hand.surrogates,
    )


def test_a_secret_in_a_varied_setting_is_used_and_not_written_into_the_name_of_the_row() -> None:
    method = OmegaConf.create({"_target_": "x.Y", "server": "", "api_key": ""})
    grid = {"server": ["http://user:planted@host/x?token=planted"], "api_key": ["planted"]}
    own, variant = variants_of("mine", method, grid, "methods.mine")
    assert variant.config["server"] == grid["server"][0] and variant.config["api_key"] == "planted"
    assert "planted" not in variant.text + variant.varied and "host/x" in variant.text
    assert split_row_name(row_name("mine", variant.text)) == ("mine", variant.text) and own.text == ""


def test_a_setting_inside_a_block_of_a_method_can_be_varied() -> None:
    words = ("method=opom_convex_hull", "+variants={opom_convex_hull: {objective.warmup_steps: [2]}}")
    [own, variant] = cells(*words, method="opom_convex_hull")
    assert (variant.variant, variant.config["objective"]["warmup_steps"]) == ("objective.warmup_steps=2", 2)
    assert own.config["objective"]["warmup_steps"] == 5
    assert variant.config["objective"]["upper"] == own.config["objective"]["upper"]


def test_order_of_what_is_listed_does_not_matter() -> None:
    one = cells("+variants.pgd={steps: [2, 20], objective: [reference]}")
    other = cells("+variants.pgd={objective: [reference], steps: [20, 2]}")
    assert one == other


def test_variants_run_at_every_budget_and_limits_hold_for_them() -> None:
    words = ("epsilons_255=[4,8]", "+variants.pgd.steps=[2]")
    found = cells(*words)
    assert [(cell.variant, cell.budget) for cell in found] == [
        (variant, BudgetSize(size)) for variant in ("", "steps=2") for size in (4.0, 8.0)
    ]
    limited = cells("+variants.pgd.steps=[2]", "+plan.limits.pgd={epsilons_255: [6]}")
    assert [(cell.variant, cell.budget.number) for cell in limited] == [("", 6.0), ("steps=2", 6.0)]


def test_a_setting_that_is_typed_is_no_longer_what_a_preset_varies(tmp_path: Path) -> None:
    """So that a multirun over it has one row for each of its values: method=pgd method.steps=2,4."""
    preset = tmp_path / "experiment" / "varied.yaml"
    preset.parent.mkdir()
    preset.write_text(
        "# @package _global_\n# Varied.\ndefaults: [smoke, _self_]\nvariants: {pgd: {steps: [2, 20]}}\n",
        encoding="utf-8",
    )

    def variants(*words: str) -> list[tuple[str, int]]:
        config = compose_config(["experiment=varied", *words], config_dirs=[str(tmp_path)])
        return [(cell.variant, cell.config["steps"]) for cell in build_parts(config).cells if cell.method == "pgd"]

    assert variants("method=pgd") == [("", 10), ("steps=2", 2), ("steps=20", 20)]
    assert variants("method=pgd", "method.steps=2") == [("", 2)]


def test_what_a_preset_varies_of_a_method_that_was_not_chosen_does_not_apply() -> None:
    config = compose_config([*SMOKE, "method=fgsm"])
    config.variants = {"pgd": {"steps": [2]}}
    assert {cell.variant for cell in build_parts(config).cells} == {""}


def test_methods_of_a_protocol_have_variants_by_the_same_words() -> None:
    config = compose_config(["experiment=survey_fig2", "+variants.em_class.step_255=[2]"])
    found = build_cells(config, "protocols.poisoning.")
    assert {cell.variant for cell in found if cell.method == "em_class"} == {"", "step_255=2"}
    assert {cell.variant for cell in found if cell.method != "em_class"} == {""}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("+variants.nobody.steps=[2]",), "variants names nobody, which this experiment does not have; it has: "),
        (("+variants.random_sign.seed=[2]",), "variants names random_sign, a control, which has none"),
        (("+variants.pgd.stepz=[2]",), "variants.pgd has no setting 'stepz'; it has: steps, step_255, objective, "),
        (("+variants.pgd.title=[A]",), "variants.pgd has no setting 'title'; it has: steps"),
        (("+variants={pgd: {steps.more: [2]}}",), "variants.pgd has no setting 'steps.more'; it has: none"),
        (("+variants.pgd.steps=[2,ten]",), "variants.pgd.steps is ten: it must be a whole number"),
        (("+variants.pgd.steps=[0]",), "variants.pgd.steps is 0: it must be"),
        (("+variants.pgd.steps=[]",), "variants.pgd.steps is []: it must be a list of at least one value"),
        (("+variants.pgd.steps=2",), "variants.pgd.steps is 2: it must be a list of at least one value"),
        (("+variants.pgd={}",), "variants.pgd is {}: it must be a mapping from settings to lists"),
        (("+variants.pgd.steps=[2,2]",), "variants.pgd.steps is [2,2]: it must be a list of at least one value"),
        (("+variants.pgd.steps=[2,10]",), "variants.pgd: steps=10 is how pgd is set already"),
        (("+variants.pgd.epsilon_255=[4]",), "variants.pgd.epsilon_255 is the budget"),
    ],
)
def test_variants_that_fit_nothing_are_refused_in_one_line(words: tuple[str, ...], message: str) -> None:
    assert refusal(*words).replace("[2, 2]", "[2,2]").startswith(message)


def test_a_variant_is_stored_where_the_same_settings_alone_are_stored(tiny_overrides: list[str]) -> None:
    """So nothing that is stored ages, and nothing is made twice."""

    def keys(*words: str) -> dict[str, list[str]]:
        config = compose_config([*tiny_overrides, *words], config_dirs=[str(CONFIG_DIR)])
        probes = prepare(config).publications["probes"]
        return {
            cell.label: [one.unit.key for one in units]
            for cell, units in zip(probes.cells, probes.units, strict=True)
            if cell.method == "pgd"
        }

    plain, varied = keys(), keys("+variants.pgd.steps=[3]")
    alone = keys("methods.pgd.steps=3")
    assert plain.items() <= varied.items()
    assert {label.replace(" (steps=3)", ""): some for label, some in varied.items() if "steps" in label} == alone
    assert plain.keys() == alone.keys() and plain != alone
