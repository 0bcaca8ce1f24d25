"""A run asks a service about photos that others have protected, once, and its tables come from what is stored."""

from __future__ import annotations

from pathlib import Path

import pytest
from emulators.facepp import FaceppEmulator
from emulators.remote_runs import Unbroken, Words, ran, rates, tables


def test_a_run_asks_once_and_a_second_one_makes_no_call(
    emulator: FaceppEmulator, words: Words, unbroken: Unbroken, tmp_path: Path
) -> None:
    first, calls = unbroken.outcome, unbroken.calls
    assert first.problems == []
    assert calls["compare"] == 18 * 3  # clean, random sign, PGD; the clean row is what is asked anyway
    assert calls["search"] == 18 * 3 and unbroken.sets == []
    assert set(rates(first, "remote_dodging_far_1e-3")) == {"identity", "random_sign", "pgd"}
    told = first.results.setup["service_facepp"]
    assert told.startswith(f"{calls.total()} requests (54 compare,") and ", 54 search)" in told
    unbroken.copied(tmp_path / "results")
    second = ran(words())
    assert emulator.total == 0 and second.reused and tables(second) == tables(first)


@pytest.mark.slow
def test_the_run_itself_offers_the_local_service(emulator: FaceppEmulator, words: Words) -> None:
    local = ran(words("protocols.remote.services=[local]", "~services.facepp", "dataset.impostor_identities=30"))
    assert local.problems == [] and emulator.total == 0
    dodging = rates(local, "remote_dodging_far_1e-2")
    assert dodging["pgd"] >= dodging["identity"]


@pytest.mark.slow
def test_attributes_are_read_and_held_against_labels(emulator: FaceppEmulator, words: Words) -> None:
    ran_once = ran(
        words(
            "protocols.remote.operations=[attributes]",
            "attribute_task=world3",
            "protocols.remote.services=[local]",
            "~services.facepp",
            "attribute_model@protocols.remote.served.attribute_model=attributes_resnet18",
        )
    )
    assert ran_once.problems == []
    mosr, h_pn = rates(ran_once, "mosr"), rates(ran_once, "h_pn")
    assert 0 <= mosr["identity"] < 0.3 and set(h_pn) == {"identity", "random_sign", "pgd"}


@pytest.mark.slow
def test_only_named_methods_and_controls_are_asked_about(emulator: FaceppEmulator, words: Words) -> None:
    outcome = ran(words("protocols.remote.methods=[]", "protocols.remote.photos_each=1"))
    assert outcome.problems == [] and emulator.calls["compare"] == 6 * 2
    assert set(rates(outcome, "remote_psr_top1")) == {"identity", "random_sign"}


@pytest.mark.slow
def test_photos_of_another_protocol_are_asked_about(emulator: FaceppEmulator, words: Words) -> None:
    outcome = ran(
        words(
            "protocol@protocols.visual=visual",
            "+method@protocols.visual.methods.mosaic=mosaic",
            "protocols.visual.photos=probe",
            "protocols.remote.photos=visual",
            "protocols.remote.operations=[search]",
        )
    )
    assert outcome.problems == []
    assert "mosaic" in rates(outcome, "remote_psr_top1") and "pgd" not in rates(outcome, "remote_psr_top1")
