"""The register of papers and code is sound, its page is current, and the settings that it names exist."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.axes import value_text
from cloakbench.bench.report.reported.pairings import load_pairings
from cloakbench.bench.report.reported.printed import ReportedSchemaError, load_yaml
from cloakbench.bench.report.reported.register import Option, caveats, load_register, read_register

ROOT = Path(__file__).parents[1]
REGISTER = load_register()
CHOSEN = {
    "method": ("method={}", "method"),
    "model": ("model@surrogate={}", "surrogate"),
    "dataset": ("dataset={}", "dataset"),
    "protocol": ("+protocol@protocols.asked={}", "protocols.asked"),
}
"""Group to what chooses one of it, and where its settings stand then."""


def test_the_page_is_current() -> None:
    spec = importlib.util.spec_from_file_location("refresh_register", ROOT / "scripts" / "refresh_register.py")
    assert spec is not None
    assert spec.loader is not None
    refresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(refresh)
    assert refresh.PLACE.read_text(encoding="utf-8") == refresh.page(), "run make register"


@pytest.mark.parametrize("option", [one for entry in REGISTER for one in entry.options], ids=str)
def test_every_setting_of_the_register_exists_and_takes_the_reading(option: Option) -> None:
    group, name = option.file.split("/")
    choice, place = CHOSEN[group]
    config = compose_config(["experiment=smoke", choice.format(name)])
    node, _, last = f"{place}.{option.setting}".rpartition(".")
    assert last in OmegaConf.select(config, node), f"{option.file}.yaml has no setting {option.setting}"
    if option.value:
        assert value_text(OmegaConf.select(config, f"{node}.{last}")) == option.value


def test_every_table_of_the_register_is_printed_and_has_its_caveats() -> None:
    tables = {table for entry in REGISTER for table in entry.tables}
    assert tables <= set(load_pairings().tables)
    of_first = [line.split(",")[0] for line in caveats(REGISTER, "facecloak_1")]
    assert of_first == ["D-05", "D-06", "D-07", "D-08", "D-09", "D-10", "D-14", "D-18"]
    assert [line.split(",")[0] for line in caveats(REGISTER, "facecloak_3")] == ["D-30"]
    assert caveats(REGISTER, "veil_1") == []


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("paper", "", "D-02: paper is ''; write a sentence"),
        ("severity", "high", "D-02: severity is missing or unknown"),
        ("options", ["method/pgd: steps"], "D-02: option 'method/pgd: steps' is not written as"),
        ("tables", "facecloak_1", "D-02: tables is 'facecloak_1'; write a list of texts"),
    ],
)
def test_a_broken_entry_is_refused_in_one_line(part: str, value: object, message: str) -> None:
    content = copy.deepcopy(load_yaml("register.yaml", ROOT / "results"))
    content["D-02"][part] = value
    with pytest.raises(ReportedSchemaError) as refused:
        read_register(content)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_numbers_follow_each_other() -> None:
    content = load_yaml("register.yaml", ROOT / "results")
    del content["D-04"]
    with pytest.raises(ReportedSchemaError, match="'D-05' stands where D-04 belongs"):
        read_register(content)
