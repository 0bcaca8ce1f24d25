"""The rule of enrolled photos: clean photos search the protected ones of their person; ties go to the attacker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.status import METHOD_FAILED, NOT_PLANNED, OK
from cloakbench.bench.experiment.run import run
from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.protocols.recognition.responses import Responses

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
KS = (1, 3)


def responses(seed: int, sizes: list[int], gallery: int) -> Responses:
    draw = torch.Generator().manual_seed(seed)

    def embeddings(count: int) -> Tensor:
        return F.normalize(torch.randn(count, 4, generator=draw), dim=1)

    identity = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    count = len(identity)
    names = [f"photo{number}" for number in range(count)]
    return Responses(embeddings(count), embeddings(count), identity, names, embeddings(gallery))


def measured(r: Responses) -> pd.DataFrame:
    protocol = Identification(KS, enrolled=True)
    return protocol.measurements(protocol.records(r), resamples=20, seed=0).set_index("metric")


def by_sorting(r: Responses, k: int) -> tuple[int, int]:
    """Misses and trials from a sorted gallery for each clean photo, protected photos first at equal scores."""
    assert r.gallery is not None
    misses = trials = 0
    for i in range(len(r.identity)):
        mates = [j for j in range(len(r.identity)) if j != i and r.identity[j] == r.identity[i]]
        entries = [(-float((r.clean[i].double() @ r.protected[j].double()).float()), 0) for j in mates]
        entries += [(-float((r.clean[i].double() @ one.double()).float()), 1) for one in r.gallery]
        trials += bool(mates)
        misses += bool(mates) and all(kind for _, kind in sorted(entries)[:k])
    return misses, trials


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    gallery=st.integers(3, 15),
)
def test_rates_are_those_of_a_sorted_gallery(seed: int, sizes: list[int], gallery: int) -> None:
    r = responses(seed, sizes, gallery)
    table = measured(r)
    for k in KS:
        misses, trials = by_sorting(r, k)
        row = table.loc[f"psr_enrolled_top{k}"]
        assert row["n"] == trials
        if trials:
            assert row["value"] == pytest.approx(misses / trials)


def test_photos_that_were_left_as_they_are_have_the_clean_rows_error() -> None:
    r = responses(3, [4, 3, 2], 30)
    records = Identification(KS, enrolled=True).records(replace(r, protected=r.clean.clone()))
    assert (records["enrolled_rank"] == records["p2_clean_rank"]).all()
    assert 0 < (records["enrolled_rank"] >= 1).sum() < len(records)


def test_a_tie_with_a_distractor_goes_to_the_attacker_and_the_own_photo_is_no_mate() -> None:
    r = responses(4, [2], 5)
    tied = replace(r, protected=r.clean.flip(0), gallery=r.clean[:1].repeat(9, 1))
    # Photo 0 would find its own protected photo, which is clean photo 1, and has clean photo 0 as its only mate.
    records = Identification(KS, enrolled=True).records(tied)
    assert records["enrolled_rank"].tolist()[0] == 0


def test_photos_that_are_not_there_are_in_nobodys_gallery() -> None:
    r = responses(5, [3, 2], 20)
    lost = [OK, METHOD_FAILED, NOT_PLANNED, OK, METHOD_FAILED]
    records = Identification(KS, enrolled=True).records(replace(r, status=lost))
    assert records["enrolled_rank"].isna().tolist() == [True] * 5
    assert records["p2_rank"].isna().tolist() == [False, True, True, False, True]
    found = Identification(KS, enrolled=True).records(replace(r, status=[OK, METHOD_FAILED, OK, OK, OK]))
    assert r.gallery is not None
    mate = float((r.clean[0].double() @ r.protected[2].double()).float())
    above = int(((r.gallery.double() @ r.clean[0].double()).float() > mate).sum())
    assert found["enrolled_rank"].tolist()[0] == above


def test_lowkey_and_fawkes_stand_in_the_report_over_the_clean_row(tiny_overrides: list[str]) -> None:
    few = ["~methods.pgd", "~methods.opom_convex_hull", "~transforms.jpeg", "epsilons_255=null", "report.examples=0"]
    few += ["~protocols.verification", "~protocols.quality", "statistics.resamples=20"]
    lowkey = ["+method@methods.lowkey=lowkey", "methods.lowkey.steps=1"]
    fawkes = ["+method@methods.fawkes=fawkes_v1_mid", "methods.fawkes.steps=2"]
    asked = ["protocols.identification.enrolled=true", "protocols.identification.ks=[1]"]
    words = [*tiny_overrides, *few, *lowkey, *fawkes, *asked]
    outcome = run(compose_config(words, config_dirs=[str(CONFIG_DIR)]))
    assert not outcome.problems
    table = pd.concat(map(pd.read_csv, sorted((outcome.folder / "tables").glob("identification_enrolled*.csv"))))
    assert {"Clean photo", "LowKey (no LPIPS)", "Fawkes v1 (mid)"} <= set(table["method"])
    assert "protected photos enrolled" in (outcome.folder / "report.md").read_text(encoding="utf-8")
    rates = outcome.results.measurements.set_index(["metric", "method", "judge"])["value"].sort_index()
    clean = rates["psr_enrolled_top1", "identity"]
    assert clean.tolist() == rates["psr_p2_top1", "identity"].tolist() and set(clean.index) == {"tiny1", "tiny2"}


def test_without_it_nothing_is_measured_or_declared() -> None:
    protocol = Identification(KS)
    records = protocol.records(responses(6, [3, 2], 20))
    assert "enrolled_rank" not in records
    assert not [metric for metric in protocol.metrics if "enrolled" in metric.name]
    with_it = [metric.name for metric in Identification(KS, enrolled=True).metrics]
    assert with_it[-2:] == ["psr_enrolled_top1", "psr_enrolled_top3"]
    assert with_it[:-2] == [metric.name for metric in protocol.metrics]
