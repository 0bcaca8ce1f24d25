"""Every setting of every file under conf, given what it cannot be: one line that names it, before anything is built."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf, open_dict
from one_of_each_class import one_of_each_class

from cloakbench.bench.cli.main import main
from cloakbench.bench.config.build import build
from cloakbench.bench.config.checks.annotations import check_part
from cloakbench.bench.config.checks.schema import check_kinds
from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import WITHOUT_EXPERIMENT, compose_config, missing_settings
from cloakbench.bench.config.networks import build_recogniser
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.experiment.parts import build_parts
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.protocols.detection.protocol import DetectionProtocol
from cloakbench.datasets.base import FaceSet

CONF = Path(__file__).parents[3] / "conf"
WRONG: tuple[Any, ...] = ("abc", [8], True, float("nan"), -1e9, None)
GROUPS = {
    "dataset": "dataset={}",
    "protocol": "+protocol@protocols.one={}",
    "logger": "logger={}",
    "model": "model@target={}",
}
ALONE = ("method", "transform", "attacker", "onlooker", "regime")
"""Groups whose configs bring nothing but their own block."""
PLACES = {"transform": "transforms.one", "protocol": "protocols.one", "model": "target"}
PLACES |= {"onlooker": "protocols.visual.attackers.one"}
PLACES |= {"attacker": "protocols.poisoning.attackers.one", "regime": "protocols.poisoning.regimes.one"}
ANY_NUMBER = ("seed", "lower", "upper", "mean", "std", "clean_top1")
"""Numbers that may be negative, or that only a loader judges."""


MODELS = ("checkpoint", "onnx", "mxnet", "timm", "frbench", "facenet", "irse50", "cosface_ir", "cosface_mobilenet")
"""One of each kind of model; the others differ in values."""


def names(group: str) -> list[str]:
    return list(MODELS) if group == "model" else sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@cache
def together(group: str) -> DictConfig:
    """An experiment with all configs of a group in ``found``: one at a time they take a third of a second each."""
    poisoning = ["protocol@protocols.poisoning=poisoning_bench"] if group in ("attacker", "regime") else []
    return compose_config(["experiment=smoke", *poisoning, *(f"+{group}@found.{name}={name}" for name in names(group))])


def composed(group: str, name: str) -> DictConfig:
    """The experiment with one config of a group."""
    if group not in ALONE:
        return compose_config([WITHOUT_EXPERIMENT, GROUPS[group].format(name)])
    config = copy.deepcopy(together(group))
    with open_dict(config):
        OmegaConf.update(config, PLACES.get(group, group), config.pop("found")[name], merge=False)
    return config


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of the settings below a block; lists count as one."""
    if isinstance(node, dict):
        for name, value in node.items():
            if not str(name).startswith("_"):
                yield from leaves(value, f"{prefix}{name}.")
    elif node != "???":
        yield prefix.removesuffix("."), node


def judged(config: DictConfig) -> str:
    """What is wrong with an experiment, in one line; empty if nothing is."""
    try:
        build_parts(config)
    except ConfigError as problem:
        assert "\n" not in str(problem)
        return str(problem)
    return ""


def must_be_refused(name: str, old: Any, wrong: Any) -> bool:
    """Whether a value can never be right where ``old`` is."""
    if isinstance(old, bool):
        return wrong is not True
    if not isinstance(old, int | float):
        return False
    if name.split(".", maxsplit=1)[0] in (
        "methods",
        "attackers",
        "regimes",
    ):  # tried as such
        return False
    of_a_network = re.search(r"(^|\.)(network|perceptual\.model)\.", name)  # its builder judges the size of layers
    any_number = name.rsplit(".", maxsplit=1)[-1] in ANY_NUMBER
    return not (wrong is None or (wrong == -1e9 and (of_a_network or any_number)))


@pytest.mark.parametrize(
    ("group", "name"),
    [
        pytest.param(group, *one.values, marks=one.marks)
        for group in (*GROUPS, *ALONE)
        for one in one_of_each_class(names(group), group)
    ],
)
def test_no_wrong_value_goes_through_or_raises_anything_else(group: str, name: str, tmp_path: Path) -> None:
    config, place = composed(group, name), PLACES.get(group, group)
    fill(config, tmp_path)
    block: Any = OmegaConf.to_container(OmegaConf.select(config, place), resolve=True)
    for key, old in leaves(block):
        if key.startswith("served."):
            continue  # built when a run begins, and tried as such
        for wrong in WRONG:
            said = refusal(changed(block, key.split("."), wrong), place, build_it=group != "model", config=config)
            if must_be_refused(key, old, wrong) and group != "model":
                assert said, f"{place}.{key}={wrong} is taken"
            assert not said or said.startswith(place), said


def refusal(block: dict[str, Any], place: str, build_it: bool, config: DictConfig) -> str:
    """What is wrong with a part of a config, in one line; empty if nothing is."""
    try:
        for where, part in {place: block}.items() if "_target_" in block else named(block, place).items():
            if build_it:
                built = build(part, where)
                if isinstance(built, DetectionProtocol):
                    built.check(config, f"{where}.")  # which tries its detectors
            else:
                check_part(part, where)
    except ConfigError as problem:
        assert "\n" not in str(problem)
        return str(problem)
    return ""


def named(block: dict[str, Any], place: str) -> dict[str, Any]:
    """The parts of a group that is a list of them."""
    return {f"{place}.{name}": part for name, part in block.items()}


def changed(block: Any, steps: list[str], wrong: Any) -> Any:
    """A block with one setting changed; lists are not entered."""
    if not steps:
        return wrong
    return {**block, steps[0]: changed(block[steps[0]], steps[1:], wrong)}


def fill(config: DictConfig, folder: Path) -> None:
    """Give settings that have no value one that would do."""
    (folder / "file").touch()
    for name in missing_settings(config):
        if name.split(".")[0] in ("dataset", "method", "target", "protocols"):
            OmegaConf.update(config, name, 0.5 if name.endswith(("mean", "std")) else str(folder))


def test_every_own_setting_of_an_experiment_is_checked() -> None:
    config = compose_config(["experiment=bench"])
    own = ("seed", "plan", "statistics", "report", "runtime", "single_surrogates")
    plain: Any = OmegaConf.to_container(config, resolve=True)
    for key, old in leaves({name: plain[name] for name in (*own, "epsilons_255")}):
        for wrong in WRONG:
            said = ""
            try:
                check_kinds(changed(plain, key.split("."), wrong))
            except ConfigError as problem:
                said = str(problem)
            if isinstance(old, int | float | list) and not (wrong is None or isinstance(wrong, list)):
                assert said or (isinstance(old, bool) and wrong is True), f"{key}={wrong} is taken"
            assert not said or said.startswith(f"{key} is "), said


def test_nothing_is_read_or_rendered_before_the_settings_are_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_nothing(self: object) -> None:
        raise AssertionError("faces were made before the settings were checked")

    monkeypatch.setattr(FaceSet, "__post_init__", read_nothing)
    for word in (
        "method.epsilon_255=300",
        "protocols.verification.fars=[2]",
        "protocols.quality.image_metrics=3",
        "runtime.device=x",
    ):
        with pytest.raises(ConfigError, match=word.partition("=")[0]):
            prepare(compose_config(["experiment=smoke", "method=fgsm", word]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("method.epsilon_255=8/255",),
            "method.epsilon_255 is 8/255: it must be a number from 0 to 255 in grey",
        ),
        (("method.epsilon_255=[8]",), "method.epsilon_255 is [8]: it must be a number from 0 to 255"),
        (("method.epsilon_255=true",), "method.epsilon_255 is true: it must be a number from 0 to 255"),
        (("method.epsilon_255=inf",), "method.epsilon_255 is inf: it must be a number from 0 to 255"),
        (("method.epsilon_255=-4",), "method.epsilon_255 is -4: it must be a number from 0 to 255"),
        (("method.epsilon_255=300",), "method.epsilon_255 is 300: it must be a number from 0 to 255"),
        (("method=pgd", "method.step_255=abc"), "method.step_255 is abc: it must be a number from 0 to 255"),
        (("method=pgd", "method.step_255=0"), "method.step_255 is 0: it must be a number above 0"),
        (("method=pgd", "method.steps=1.5"), "method.steps is 1.5: it must be a whole number"),
        (("method=pgd", "method.steps=2.0"), "method.steps is 2.0: it must be a whole number"),
        (("method=pgd", "method.steps=1e99"), "method.steps is 1e+99: it must be a whole number"),
        (("method=mi_fgsm", "method.steps=true"), "method.steps is true: it must be a whole number"),
        (("method=opom_convex_hull", "method.objective.warmup_steps=-1"), "method.objective.warmup_steps is -1"),
        (("method=null",), ""),
        (("epsilons_255=[nan]",), "epsilons_255 is [nan]: it must be a list of numbers from 0 to 255"),
        (("epsilons_255=[8,8.0]",), "epsilons_255 is [8, 8.0]: it must be a list of numbers"),
        (("+plan.limits.fgsm.epsilons_255=[abc]",), "plan.limits.fgsm.epsilons_255 is [abc]"),
        (("+plan.limits.fgsm.people=1.5",), "plan.limits.fgsm.people is 1.5"),
        (
            ("protocol@protocols.poisoning=poisoning_bench", "protocols.poisoning.epsilons_255=[300]"),
            "protocols.poisoning.epsilons_255 is [300]",
        ),
        (
            ("protocol@protocols.poisoning=poisoning_bench", "protocols.poisoning.more_epsilons_255.em_class=[8/255]"),
            "protocols.poisoning.more_epsilons_255",
        ),
        (("+transform@transforms.j=jpeg", "transforms.j.quality=150"), "transforms.j.quality is 150: it must be"),
        (("+transform@transforms.b=gaussian_blur", "transforms.b.sigma_px=-1"), "transforms.b.sigma_px is -1"),
        (("dataset=folder", "dataset.root=x", "dataset.min_crop_px=abc"), "dataset.min_crop_px is abc"),
        (("dataset=folder", "dataset.root=x", "dataset.max_identities=abc"), "dataset.max_identities is abc"),
        (("dataset=folder", "dataset.root=x", "dataset.max_identities=0"), "dataset.max_identities is 0"),
        (("protocols.verification.fars=0.1",), "protocols.verification.fars is 0.1: it must be a list"),
        (("protocols.verification.fars=[0.1,0.10000001]",), "protocols.verification.fars is [0.1, 0.10000001]"),
        (("protocols.identification.ks=[0]",), "protocols.identification.ks is [0]: it must be a list"),
        (("protocols.identification.ks=[]",), "protocols.identification.ks is []"),
        (("protocols.identification.ks=[1,1]",), "protocols.identification.ks is [1, 1]"),
        (("+image_metric@protocols.quality.image_metrics.x=ssim",), "metric ssim of quality is declared twice"),
        (("logger=wandb", "logger.wandb.mode=abc"), "logger.wandb.mode is abc: it must be one of offline, online"),
        (("~seed",), "the experiment has no seed, which it needs: leave ~seed out"),
        (("~plan.limits",), "the experiment has no plan.limits"),
        (("~protocols",), "the experiment has no protocol that says which photos are protected (nobody asks anything)"),
        (
            ("~protocols.identification", "~protocols.verification"),
            "the experiment has no protocol that says which photos are protected (quality asks about what others",
        ),
        (("~transforms",), ""),
        (("+transforms.x=3",), "transforms.x is 3: it must be a block with _target_"),
        (
            ("method._target_=cloakbench.bench.experiment.logging.loggers.CsvLogger", "~method.epsilon_255"),
            "method has no setting",
        ),
        (("dataset=folder",), "dataset.root is not set"),
        (("model@surrogate=onnx",), "surrogate.card.family is not set"),
        (("+ensembles.none=[]",), "ensembles.none is []: it must be a list of at least one name"),
        (("statistics.resamples=100000000",), "statistics.resamples is 100000000: it must be a whole number from 1"),
        (("method=precomputed", "method.folder=nowhere"), "method.folder is nowhere: it must be the folder"),
    ],
)
def test_a_wrong_setting_is_one_line_in_the_users_spelling(words: tuple[str, ...], said: str) -> None:
    chosen = [] if any(word.startswith("method=") for word in words) else ["method=fgsm"]
    words = tuple(word for word in words if word != "method=null")
    line = judged(compose_config(["experiment=smoke", *chosen, *words]))
    assert line.startswith(said) if said and not said.startswith("of ") else said in line
    assert bool(line) == bool(said)


def test_a_folder_of_protected_photos_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    config = compose_config(["experiment=smoke", "method=precomputed", f"method.folder={tmp_path}"])
    assert "(it holds no file)" in judged(config)


def test_two_transforms_of_one_label_are_refused() -> None:
    two = ["+transform@transforms.a=gaussian_blur", "+transform@transforms.b=gaussian_blur"]
    config = compose_config(["experiment=smoke", *two, "transforms.b.sigma_px=1.00000001"])
    assert "both called gaussian_blur_1" in judged(config)


@pytest.mark.parametrize(
    ("command", "word"),
    [("calibrate", "fars=0.1"), ("verify", "drawn_per_fold=0"), ("verify", "statistics.resamples=abc"),
     ("recogniser", "plan.embed_batch=0"), ("recogniser", "dataset.identities=1.5"), ("protect", "overwrite=1"),
     ("protect", "min_crop_px=1.5"), ("protect", "detector.min_score=abc"), ("protect", "format=3"),
     ("perf", "people=true"), ("perf", "repeats=null"), ("zoo", "workers=0"), ("zoo", "only=x"),
     ("zoo", "members.arcface_ir.training.batch_size=1.5"), ("zoo", "evaluation.identities=abc"),
     ("export", "overwrite=3"), ("export", "seed=abc"), ("export", "dataset.identities=abc")],
)  # fmt: skip
def test_commands_hold_their_settings_against_kinds_too(command: str, word: str) -> None:
    recogniser = ["model=arcface_ir"]
    needed = {"protect": ["method=pgd", "input=x", "output=y"], "export": ["output=y"], "perf": [], "zoo": []}
    with pytest.raises(ConfigError, match=rf"^{word.partition('=')[0]} is .*: it must be"):
        check_values(compose_config([*needed.get(command, recogniser), word], command))


@pytest.mark.parametrize("words", [["perf", "people=true"], ["zoo", "workers=0"], ["export", "output=y", "seed=abc"]])
def test_commands_look_at_their_settings_first(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    key, _, value = words[-1].partition("=")
    assert capsys.readouterr().err.startswith(f"error: {key} is {value}: it must be ")


@pytest.mark.parametrize(
    ("word", "said"),
    [("std=0", "inputs.std is 0: it must be a finite number above 0"),
     ("std=[1,0,1]", "inputs.std is 0: it must be"),
     ("size=[0,112]", "inputs.size is 0: it must be a whole number of at least 1"),
     ("crop=[-1,0,112,112]", "inputs.crop is -1: it must be a whole number of at least 0"),
     ("crop=[0,0,0,112]", "inputs.crop is 0: it must be a whole number of at least 1")],
)  # fmt: skip
def test_an_input_rule_that_leaves_no_photo_is_refused_before_the_weights_are_read(word: str, said: str) -> None:
    rule = ["target.name=mine", "target.card.family=x", "target.inputs.mean=0", "target.weights.path=nowhere.onnx"]
    rule += [] if word.startswith("std") else ["target.inputs.std=1"]
    config = compose_config(["experiment=smoke", "model@target=onnx", *rule, f"target.inputs.{word}"])
    plain: Any = OmegaConf.to_container(config.target, resolve=True)
    with pytest.raises(ValueError, match=f"^model mine: {said}"):
        build_recogniser(plain, "mine")


@pytest.mark.parametrize("word", ["given=[x]", "method_key=x"])
def test_what_the_command_line_sets_itself_cannot_be_set(word: str) -> None:
    with pytest.raises(ConfigError, match=f"^{word.partition('=')[0]} has no effect"):
        compose_config(["experiment=smoke", "method=fgsm", word])


def test_a_misspelt_setting_is_held_against_all_that_was_chosen_before_it() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'method\.epsilon_255'"):
        compose_config(["experiment=smoke", "method=fgsm", "method.epsilon=3", "runtime.workers=0"])
