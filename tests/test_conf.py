"""Every file under conf composes, and every key of it reaches a constructor."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.compose import compose_config, resolved
from cloakbench.bench.services.local.settings import LocalSettings
from cloakbench.methods.base import TITLE

CONF = Path(__file__).parents[1] / "conf"
GROUP_OF_ONE = {
    "adversary": "+adversary@protocols.identification.adversaries.one={}",
    "attribute_model": "+attribute_model@attribute_models.one={}",
    "attribute_task": "attribute_task={}",
    "attacker": "+attacker@protocols.poisoning.attackers.one={}",
    "dataset": "dataset={}",
    "experiment": "experiment={}",
    "generator": "generator={}",
    "image_metric": "+image_metric@protocols.quality.image_metrics.one={}",
    "target_set": "target_set={}",
    "logger": "logger={}",
    "method": "method={}",
    "metric": "+metric@metrics.one={}",
    "model": "model@surrogate={}",
    "onlooker": "+onlooker@protocols.visual.attackers.one={}",
    "protocol": "+protocol@protocols.one={}",
    "purifier": "+purifier@transforms.one.trainer.recipe={}",
    "regime": "+regime@protocols.poisoning.regimes.one={}",
    "runtime": "runtime={}",
    "service": "+service@services.one={}",
    "transform": "+transform@transforms.one={}",
}


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def nodes_with_target(config: Any) -> Iterator[DictConfig]:
    if isinstance(config, DictConfig):
        if "_target_" in config:
            yield config
        for key in config:
            yield from nodes_with_target(config._get_node(key))


def assert_keys_reach_constructors(config: DictConfig) -> None:
    for node in nodes_with_target(config):
        parameters = inspect.signature(get_method(node._target_)).parameters
        given = {str(key) for key in node if not str(key).startswith("_")}
        if node._target_.startswith("cloakbench.methods."):
            given.discard(TITLE)
        assert given <= set(parameters), f"{node._target_} does not take {given - set(parameters)}"


def test_every_method_has_a_title_of_its_own() -> None:
    titles = [OmegaConf.load(CONF / "method" / f"{name}.yaml").get(TITLE) for name in names("method")]
    assert all(titles) and len(set(titles)) == len(titles)


WITH_SURROGATES = {"veils": "veil_figure3", "veils_published": "veil_figure3"}
"""Target sets that bring surrogates, too, and an experiment that brings none of its own."""


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in GROUP_OF_ONE for name in names(group)])
def test_every_config_composes_and_its_keys_reach_a_constructor(group: str, name: str) -> None:
    ground = [] if group in ("experiment", "target_set") else ["experiment=smoke"]
    if name in WITH_SURROGATES:
        ground = [f"experiment={WITH_SURROGATES[name]}"]
    config = compose_config([*ground, GROUP_OF_ONE[group].format(name)])
    assert_keys_reach_constructors(config)


@pytest.mark.parametrize("name", [name for name in names("recipe") if not name.startswith("_")])
def test_every_recipe_belongs_to_the_zoo_and_its_keys_reach_a_constructor(name: str) -> None:
    config = compose_config([], config_name="zoo")
    assert name in config.members
    assert_keys_reach_constructors(config.members[name])


def test_the_config_of_protect_composes_and_its_keys_reach_a_constructor() -> None:
    assert_keys_reach_constructors(compose_config(["method=pgd", "model@target=cosface_ir"], "protect"))


@pytest.mark.parametrize("command", ["recogniser", "verify", "calibrate"])
@pytest.mark.parametrize("model", names("model"))
def test_the_commands_about_one_recogniser_take_every_model(command: str, model: str) -> None:
    assert_keys_reach_constructors(compose_config([f"model={model}"], command))


@pytest.mark.parametrize("name", names("service"))
def test_the_commands_about_services_take_each_of_them(name: str) -> None:
    assert_keys_reach_constructors(compose_config([f"service={name}"], "one_service"))


def test_the_config_of_serve_takes_networks_and_a_detector_and_its_behaviour_is_whole() -> None:
    words = ["model=cosface_ir", "attribute_model=faceapi_age_gender", "detector=mtcnn"]
    config = compose_config(words, "serve")
    assert_keys_reach_constructors(config)
    assert LocalSettings(**resolved(config.behaviour)) == LocalSettings()
    assert set(config.behaviour) == {field.name for field in fields(LocalSettings)}


def test_every_group_of_conf_is_tested() -> None:
    groups = {path.name for path in CONF.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert groups == {*GROUP_OF_ONE, "recipe", "detector"}


@pytest.mark.parametrize("name", names("experiment"))
def test_every_experiment_has_something_to_judge_and_says_what_it_is(name: str) -> None:
    config = compose_config([f"experiment={name}"])
    assert config.targets or config.attribute_targets or config.services or "poisoning" in config.protocols
    assert config.description
    assert set(config.controls) == {"identity", "random_sign"}


def test_every_config_file_begins_with_what_it_is() -> None:
    for path in CONF.rglob("*.yaml"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "@package" not in line]
        assert lines[0].startswith("# "), f"{path} has no first line that says what it is"


def test_the_default_run_runs_no_algorithm_twice() -> None:
    """FI-UAP+ is OPOM-ClassCenter (tests/methods/test_opom.py): one row, which names both, and the other by name."""
    config = compose_config(["experiment=bench"])
    methods = [OmegaConf.to_container(method) for method in config.methods.values()]
    plain = [{key: value for key, value in method.items() if key != TITLE} for method in methods]
    assert all(one not in plain[:place] for place, one in enumerate(plain))
    objectives = [str(method["objective"]) for method in plain if isinstance(method.get("objective"), dict)]
    assert any("ClassCenter" in one for one in objectives)
    assert not any("PairwiseCosine" in one for one in objectives)
    assert {"OPOM-ClassCenter", "FI-UAP+"} == set(config.methods.opom_class_center.title.split(" = "))
    assert "fi_uap_plus" in compose_config(["experiment=bench", "+method@methods.fi_uap_plus=fi_uap_plus"]).methods


def test_people_are_never_fewer_where_intervals_are_to_be_read() -> None:
    """Intervals are over people: a method at both budgets is kept to fewer photos of each, not to fewer people."""
    config = compose_config(["experiment=bench"])
    for method, limit in config.plan.limits.items():
        whole = "epsilons_255" not in limit and "surrogates" not in limit
        assert not whole or (limit.get("people") is None and limit.photos >= 7), method
