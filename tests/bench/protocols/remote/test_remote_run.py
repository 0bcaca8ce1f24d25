"""A run asks a service about photos that others have protected, once, and its tables come from what is stored."""

from __future__ import annotations

from emulators.facepp import FaceppEmulator
from emulators.remote_runs import Words, ran, rates, tables


def test_a_run_asks_once_and_a_second_one_makes_no_call(emulator: FaceppEmulator, words: Words) -> None:
    first = ran(words())
    assert first.problems == []
    assert emulator.calls["compare"] == 18 * 3  # clean, random sign, PGD; the clean row is what is asked anyway
    assert emulator.calls["search"] == 18 * 3 and emulator.sets == {}
    assert set(rates(first, "remote_dodging_far_1e-3")) == {"identity", "random_sign", "pgd"}
    calls, printed = emulator.total, tables(first)
    second = ran(words())
    assert emulator.total == calls and second.reused and tables(second) == printed


def test_the_run_itself_offers_the_local_service(emulator: FaceppEmulator, words: Words) -> None:
    local = ran(words("protocols.remote.services=[local]", "~services.facepp", "dataset.impostor_identities=30"))
    assert local.problems == [] and emulator.total == 0
    dodging = rates(local, "remote_dodging_far_1e-2")
    assert dodging["pgd"] >= dodging["identity"]


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
