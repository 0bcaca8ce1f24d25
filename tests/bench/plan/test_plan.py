"""Who is to be mistaken for whom; cells of methods with and without a budget."""

from __future__ import annotations

import pytest
import torch

from cloakbench.bench.config.checks.setting_checks import check_settings
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.axes import NO_BUDGET
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.plan.chunks import build_chunks, measured_aim_rows
from cloakbench.bench.plan.plan import Cell, build_cells, make_protector
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.base import Budget


def faces(*names: str) -> FaceSet:
    images = torch.zeros(len(names), 3, 4, 4, dtype=torch.uint8)
    return FaceSet(images, tuple(f"{name}/{row}" for row, name in enumerate(names)), names)


PROBES = faces("ann", "ann", "bob", "cid")
AUXILIARY = faces("eve", "fay", "fay", "eve", "gus")


def aims(given: dict[str, str] | None) -> dict[str, str]:
    chunks = build_chunks(PROBES, None, AUXILIARY, people=2, seed=0, aims=given)
    rows = {name: row for chunk in chunks for name, row in zip(chunk.identities, chunk.aims, strict=True)}
    measured = measured_aim_rows(AUXILIARY, chunks)
    assert all(AUXILIARY.identity[rows[name]] == AUXILIARY.identity[row] for name, row in measured.items())
    assert all(rows[name] != row for name, row in measured.items())
    return {name: AUXILIARY.identity[row] for name, row in rows.items()}


def test_a_protocol_says_whom_people_are_to_be_mistaken_for() -> None:
    drawn = aims(None)
    assert set(drawn.values()) <= {"eve", "fay"}  # gus has one photo
    other = {"eve": "fay", "fay": "eve"}
    given = {"ann": other[drawn["ann"]], "cid": other[drawn["cid"]], "somebody": "gus"}
    assert aims(given) == drawn | {"ann": given["ann"], "cid": given["cid"]}
    assert aims({}) == drawn


def test_a_target_needs_two_photos() -> None:
    with pytest.raises(ConfigError, match=r"bob is to be mistaken for gus, who needs two auxiliary photos.* has 1"):
        aims({"bob": "gus"})
    with pytest.raises(ConfigError, match="has 0"):
        aims({"bob": "nobody"})


def test_a_method_without_a_budget_runs_once_whatever_the_axis() -> None:
    config = compose_config(["experiment=smoke", "+method@methods.lowkey=lowkey", "epsilons_255=[4,8]"])
    cells = [cell for cell in build_cells(config) if cell.method in ("lowkey", "pgd")]
    assert [cell.method_label for cell in cells] == ["pgd 4/255", "pgd 8/255", "lowkey"]
    assert cells[-1].budget == NO_BUDGET and cells[-1].config["epsilon_255"] is None


def test_a_budget_given_to_a_method_without_one_is_kept() -> None:
    config = compose_config(["experiment=smoke", "method=lowkey", "method.epsilon_255=8"])
    assert [cell.budget.number for cell in build_cells(config) if cell.method == "lowkey"] == [8.0]


def test_a_title_is_for_reports_alone_and_a_method_without_one_goes_by_its_key() -> None:
    def pgd(*more: str) -> Cell:
        config = compose_config(["experiment=smoke", "epsilons_255=[8]", *more])
        return next(cell for cell in build_cells(config) if cell.method == "pgd")

    plain, named = pgd(), pgd("methods.pgd.title=Ours before")
    assert (plain.title, named.title, pgd("~methods.pgd.title").title) == ("PGD", "Ours before", "pgd")
    assert plain.config == named.config and "title" not in plain.config
    assert make_protector({**plain.config, "title": "Ours"}, "pgd").budget == Budget("linf", 8)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("methods.pgd.title=''", r"methods\.pgd\.title is '': it must be a name that is not blank"),
        ("methods.pgd.title=[PGD]", r"methods\.pgd\.title is \[PGD\]: it must be a name"),
        ("+methods.pgd.titel=PGD", r"methods\.pgd has no setting 'titel'"),
    ],
)
def test_a_title_that_is_none_and_a_setting_that_is_unknown_are_refused(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_settings(compose_config(["experiment=smoke", word]))
