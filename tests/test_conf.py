"""Every file under conf composes, and every key of it reaches a constructor."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_method
from omegaconf import DictConfig, ListConfig, OmegaConf

from cloakbench.bench.config import compose as composing
from cloakbench.bench.config.compose import WITHOUT_EXPERIMENT, compose_config, resolved
from cloakbench.bench.config.compositions import _compositions, keep_composition, kept_composition
from cloakbench.bench.services.local.settings import LocalSettings
from cloakbench.methods.base import TITLE

CONF = Path(__file__).parents[1] / "conf"
CHOSEN = {
    "attribute_task": "attribute_task={0}",
    "dataset": "dataset={0}",
    "generator": "generator={0}",
    "logger": "logger={0}",
    "protocol": "+protocol@protocols.one={0}",
    "runtime": "runtime={0}",
    "target_set": "target_set={0}",
}
"""Groups of which an experiment takes one, or that bring parts of their own; the experiments are tested below."""
ADDED = {
    "adversary": "protocols.identification.adversaries.all_{0}",
    "attacker": "protocols.poisoning.attackers.all_{0}",
    "attribute_model": "attribute_models.all_{0}",
    "image_metric": "protocols.quality.image_metrics.all_{0}",
    "method": "methods.all_{0}",
    "metric": "metrics.all_{0}",
    "model": "surrogates.all_{0}",
    "onlooker": "protocols.visual.attackers.all_{0}",
    "purifier": "transforms.all_{0}.trainer.recipe",
    "regime": "protocols.poisoning.regimes.all_{0}",
    "service": "services.all_{0}",
    "transform": "transforms.all_{0}",
}
"""Groups of which an experiment takes any number, and where: all of a group are composed at once."""


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


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in CHOSEN for name in names(group)])
def test_every_config_composes_and_its_keys_reach_a_constructor(group: str, name: str) -> None:
    ground = [] if group == "target_set" else [WITHOUT_EXPERIMENT]
    if name in WITH_SURROGATES:
        ground = [f"experiment={WITH_SURROGATES[name]}"]
    config = compose_config([*ground, CHOSEN[group].format(name)])
    assert_keys_reach_constructors(config)


@pytest.mark.parametrize("group", ADDED)
def test_all_configs_of_a_group_compose_and_their_keys_reach_constructors(group: str) -> None:
    places = {name: ADDED[group].format(name) for name in names(group)}
    config = compose_config([WITHOUT_EXPERIMENT, *(f"+{group}@{place}={name}" for name, place in places.items())])
    for place in places.values():
        assert OmegaConf.select(config, place), place
    assert_keys_reach_constructors(config)


@cache
def zoo() -> DictConfig:
    """The config of the zoo."""
    return compose_config([], config_name="zoo")


@pytest.mark.parametrize("name", [name for name in names("recipe") if not name.startswith("_")])
def test_every_recipe_belongs_to_the_zoo_and_its_keys_reach_a_constructor(name: str) -> None:
    config = zoo()
    assert name in config.members
    assert_keys_reach_constructors(config.members[name])


def test_the_config_of_protect_composes_and_its_keys_reach_a_constructor() -> None:
    assert_keys_reach_constructors(compose_config(["method=pgd", "model@target=cosface_ir"], "protect"))


def one_of_each_shape() -> list[str]:
    """Recognisers that differ in class, keys or defaults: what a command that takes one could stumble over."""
    found: dict[tuple[str, ...], str] = {}
    for name in names("model"):
        text = (CONF / "model" / f"{name}.yaml").read_text(encoding="utf-8")
        found.setdefault(tuple(re.findall(r"^_target_: .*|^\w+:|^ *- .*@.*|.*\$\{.*", text, re.MULTILINE)), name)
    return list(found.values())


@pytest.mark.parametrize(
    ("command", "model"),
    [
        *(("recogniser", model) for model in one_of_each_shape()),
        *((command, model) for command in ("verify", "calibrate") for model in one_of_each_shape()[::7]),
    ],
)
def test_the_commands_about_one_recogniser_take_every_kind_of_model(command: str, model: str) -> None:
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
    assert groups == {*CHOSEN, *ADDED, "experiment", "recipe", "detector"}


@cache
def experiment(name: str) -> DictConfig:
    """The config of an experiment as Hydra composes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composing, "kept_composition", lambda _: None)
        return compose_config([f"experiment={name}"])


@pytest.mark.parametrize("name", names("experiment"))
def test_every_experiment_composes(name: str) -> None:
    config = experiment(name)
    assert_keys_reach_constructors(config)
    assert config.targets or config.attribute_targets or config.services or "poisoning" in config.protocols
    assert config.description
    assert set(config.controls) == {"identity", "random_sign"}


KEPT = ("smoke", "bench", "invisible_face_table1", "remote_identity", "transfer_front", "veil_table1")
"""Experiments of all kinds; the others are slow tests."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in KEPT else [pytest.mark.slow]) for name in names("experiment")]
)
def test_an_experiment_is_kept_as_it_was_composed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = experiment(name)
    monkeypatch.setenv("CLOAKBENCH_CACHE", str(tmp_path))
    _compositions.cache_clear()
    keep_composition(name, config)
    _compositions.cache_clear()
    kept = kept_composition(name)
    _compositions.cache_clear()
    assert kept == config
    assert OmegaConf.to_yaml(kept) == OmegaConf.to_yaml(config), "in the same order"
    assert flags(kept) == flags(config)


def flags(node: Any) -> Any:
    """Flags of a config and of everything in it that has some of its own."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(node, DictConfig | ListConfig) and not (node._is_none() or node._is_missing()):
        keys = list(node) if isinstance(node, DictConfig) else list(range(len(node)))
        inner = [(key, flags(node._get_node(key))) for key in keys]
    return (node._metadata.flags or {}, [(key, found) for key, found in inner if found != ({}, [])])


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
