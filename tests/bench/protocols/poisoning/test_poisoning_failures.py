"""Poisoning that fails: attackers and methods that do are rows, settings that cannot be are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_poisoning import (
    ATTACKS,
    CELLS,
    compose,
    psr,
)

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import run
from cloakbench.bench.experiment.run_status import due_jobs, look_up


def test_an_attacker_that_raises_is_a_row_and_the_others_still_answer(tmp_path: Path, faces_cache: Path) -> None:
    more = [
        "+attacker@protocols.poisoning.attackers.bad=raising",
        "protocols.poisoning.methods.opom_convex_hull.steps=1",
    ]
    one_scenario = ["protocols.poisoning.seeds=[0]", "protocols.poisoning.clean_shares=[0.0]"]
    config = compose(tmp_path, faces_cache, *more, *one_scenario)
    outcome = run(config)
    found = psr(outcome)
    bad = found[found["judge"] == "bad"]
    assert len(bad) == CELLS
    assert bad["value"].isna().all()
    assert (bad["status"] == "target_failed").all()
    assert bad["note"].str.contains("this attacker never learns").all()
    assert (found.loc[found["judge"] != "bad", "n"] == 6).all()
    assert any("this attacker never learns" in problem for problem in outcome.problems)
    assert "this attacker never learns" in (outcome.folder / "report.md").read_text(encoding="utf-8")
    assert due_jobs(look_up(prepare(config))) == []
    again = run(compose(tmp_path, faces_cache, *more, *one_scenario, "runtime.retry_failed=true"))
    assert again.problems == outcome.problems


@pytest.mark.slow
def test_an_attacker_that_answers_nan_is_a_row(tmp_path: Path, faces_cache: Path) -> None:
    outcome = run(
        compose(
            tmp_path,
            faces_cache,
            "+attacker@protocols.poisoning.attackers.silent=silent",
            "~protocols.poisoning.methods.opom_convex_hull",
            "~protocols.poisoning.methods.em_class",
            "~protocols.poisoning.more_epsilons_255.em_class",
            "protocols.poisoning.seeds=[0]",
            "protocols.poisoning.conditions_on=[]",
        )
    )
    found = psr(outcome).query("judge == 'silent'")
    assert len(found) == 2
    assert (found["status"] == "target_failed").all()
    assert found["value"].isna().all()
    assert found["n_failed"].between(1, 5).all()


def test_a_method_that_fails_on_a_photo_is_a_row_and_is_never_trained_on(tmp_path: Path, faces_cache: Path) -> None:
    outcome = run(
        compose(
            tmp_path,
            faces_cache,
            "+method@protocols.poisoning.methods.broken=every_third_fails",
            "+method@protocols.poisoning.methods.raising=raises",
            "~protocols.poisoning.methods.opom_convex_hull",
            "~protocols.poisoning.methods.em_class",
            "~protocols.poisoning.more_epsilons_255.em_class",
            "protocols.poisoning.seeds=[0]",
            "protocols.poisoning.conditions_on=[]",
        )
    )
    found = psr(outcome).set_index("method")
    assert (found.loc[["broken", "raising"], "status"] == "method_failed").all()
    assert found.loc[["broken", "raising"], "value"].isna().all()
    assert (found.loc["identity", "status"] == "ok").all()
    quality = outcome.results.measurements.query("metric == 'ssim'").set_index("method")
    assert quality.loc["broken", ["n", "n_failed"]].tolist() == [10, 2]
    assert quality.loc["raising", "status"] == "method_failed"
    trained = list((tmp_path / "store" / ATTACKS).rglob("*.safetensors"))
    assert len(trained) == 2 * 2  # clean and random sign, two attackers


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("+protocols.poisoning.budget=3",), "protocols.poisoning has no setting 'budget'"),
        (("dataset.poison_identities=0",), "has no train photos"),
        (("dataset.poison_identities=1",), "at least two people"),
        (
            ("protocols.poisoning.attackers.small.epochs=0",),
            "protocols.poisoning.attackers.small.epochs is 0: it must be",
        ),
        (("protocols.poisoning.other_identities=2",), "training photos of 0 people beside the 3 protected"),
        (("protocols.poisoning.clean_shares=[1.0]",), r"protocols.poisoning.clean_shares is \[1.0\]: it must be"),
        (
            ("protocols.poisoning.conditions_on=[nobody]",),
            "conditions_on is nobody: it must be a list of names of attackers",
        ),
        (("protocols.poisoning.surrogates=[nobody]",), "surrogates names nobody"),
        (("+protocols.poisoning.more_epsilons_255.pgd=[3]",), "more_epsilons_255 names pgd"),
        (("~protocols.poisoning.attackers",), "protocols.poisoning"),
        (
            ("protocols.poisoning.methods.em_class.max_rounds=0",),
            "protocols.poisoning.methods.em_class.max_rounds is 0: it must be",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, faces_cache: Path, more: tuple[str, ...], message: str
) -> None:
    with pytest.raises((ConfigError, ValueError), match=message) as caught:
        prepare(compose(tmp_path, faces_cache, *more))
    assert "\n" not in str(caught.value)
