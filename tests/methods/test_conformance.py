"""The suite on every method config, on a method from outside, and on methods that break one rule each."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import get_method, instantiate
from omegaconf import OmegaConf
from one_of_each_class import one_of_each_class
from PIL import Image

from cloakbench.methods.base import Budget, Protector, without_title
from cloakbench.methods.conformance import check_config, check_protector
from cloakbench.methods.controls import RandomSign
from cloakbench.methods.parts.shortened import in_short
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos
from cloakbench.methods.precomputed import Precomputed

ROOT = Path(__file__).resolve().parents[2]
METHODS = sorted(path.stem for path in (ROOT / "conf" / "method").glob("*.yaml"))
NEED_A_FILE = ("precomputed", "lowkey_lpips")
"""They have tests of their own."""
TAKE_LONG = (
    *("adv_makeup", "advcloak", "amt_gan", "avih", "chhabra", "deepprivacy", "dfpp", "dpg"),
    *("gender_an", "invisible_face", "lowkey_m", "optics", "ric", "veil"),
)
"""They train, or search for long, whatever their settings; tests of their own look at them in short."""


def composed(*overrides: str) -> Any:
    with initialize_config_module("cloakbench.conf", version_base="1.3"):
        return compose(overrides=list(overrides)).method


def built(*overrides: str) -> Any:
    return instantiate(without_title(composed(*overrides)))


def failures(results: list[Any]) -> list[str]:
    return [f"{result.name}: {result.detail}" for result in results if not result.passed]


@pytest.mark.parametrize("method", [name for name in METHODS if name not in NEED_A_FILE])
def test_the_settings_of_every_config_are_those_of_its_class(method: str) -> None:
    config = composed(f"+method={method}")
    parameters = set(inspect.signature(get_method(config._target_)).parameters)
    assert {key for key in without_title(config) if not str(key).startswith("_")} == parameters


@pytest.mark.parametrize(
    "method", one_of_each_class([name for name in METHODS if name not in NEED_A_FILE], slow=TAKE_LONG)
)
def test_every_config_conforms(method: str) -> None:
    results = check_config(composed(f"+method={method}"))
    assert failures(results) == []
    assert sum(not result.skipped for result in results) >= 6


def test_long_searches_and_trainings_are_cut_short() -> None:
    short = in_short(OmegaConf.to_container(composed("+method=rem_full")))  # type: ignore[arg-type]
    assert (short["outer_steps"], short["steps"], short["adversary"]["steps"]) == (1, 2, 2)
    assert short["step_255"] == 1.6 and short["random_start"] is True and short["batch_size"] == 128
    assert in_short({"steps": 3, "epochs": True, "targets": "x"}) == {"steps": 3, "epochs": True, "targets": "x"}


def test_precomputed_conforms(tmp_path: Path) -> None:
    batch = tiny_photos()
    for image, name in zip(batch.images, batch.image_id, strict=True):
        pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    config = composed("+method=precomputed", f"method.folder={tmp_path}")
    assert failures(check_config(config)) == []
    protected = Precomputed(tmp_path).protect(batch, tiny_context())
    assert protected.linf_255.max() == 0


def test_lowkey_with_lpips_conforms_and_says_nothing(tmp_path: Path) -> None:
    from torchvision.models import alexnet

    with torch.random.fork_rng(devices=[]):
        weights = alexnet().state_dict()
    path = tmp_path / "alexnet.pth"
    torch.save({name: value for name, value in weights.items() if name.startswith("features.")}, path)
    settings = [f"method.perceptual.path={path}", "method.perceptual.sha256_prefix=''", "method.steps=1"]
    # A photo of 32 px would have no last feature map.
    lowkey = built("+method=lowkey_lpips", *settings, "method.step_255=8")
    batch = tiny_photos()
    larger = replace(batch, images=torch.nn.functional.interpolate(batch.images, size=64))
    outcome = lowkey.protect(larger, tiny_context())
    assert outcome.status == ("ok",) * 6 and outcome.linf_255.max() >= 8
    assert outcome.warnings == ()
    assert list(lowkey.files_read(["any"])) == ["LPIPS (AlexNet)"]


def test_lowkey_says_which_network_stands_in_for_lpips() -> None:
    lowkey = built("+method=lowkey", "method.steps=1")
    assert lowkey.protect(tiny_photos(), tiny_context()).warnings == (
        "the perceptual term is embedded features, not LPIPS",
    )
    (name, digest), *_ = lowkey.files_read(["any"]).items()
    assert name == "embedded features" and len(digest) == 64


def test_a_method_from_an_outside_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("my_package", Path(__file__).with_name("example_method.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "my_package", module)
    spec.loader.exec_module(module)
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("_target_: my_package.AwayFromMyself\nepsilon_255: 8\n")
    config = composed(f"hydra.searchpath=[file://{tmp_path}]", "+method=mine", "method.epsilon_255=4")
    assert failures(check_config(config)) == []


class Careless(RandomSign):
    """A control that breaks the rule its argument names."""

    def __init__(self, rule: str) -> None:
        super().__init__(8)
        self.rule = rule
        self.calls = 0
        self.budget = Budget("linf", 4 if rule == "budget" else 8)

    def perturb(self, batch: Any, fitted: Any, context: Any) -> torch.Tensor:
        self.calls += 1
        if self.rule == "global":
            return batch.images + (torch.rand_like(batch.images) - 0.5) / 32
        if self.rule == "memory":
            context = replace(context, seed=self.calls)
        if self.rule == "batch":
            return batch.images + 0.03 * (batch.images - batch.images.mean(dim=0)).sign()
        if self.rule == "model":
            next(context.surrogates[0].model.parameters()).mul_(1.01)
        if self.rule == "need":
            context.surrogates[0].embed(batch.images)
        if self.rule == "nan":
            return batch.images * float("nan")
        return super().perturb(batch, fitted, context)


@pytest.mark.parametrize(
    ("rule", "check"),
    [
        ("budget", "budget (O-1)"),
        ("global", "range and 8 bits"),
        ("memory", "determinism (O-2)"),
        ("batch", "batch invariance (O-6)"),
        ("model", "frozen models (O-7)"),
        ("need", "needs are declared"),
        ("nan", "range and 8 bits"),
    ],
)
def test_the_suite_catches_a_careless_method(rule: str, check: str) -> None:
    failed = {result.name for result in check_protector(Careless(rule)) if not result.passed}
    assert check in failed


class WithoutBudget(RandomSign):
    """Declares how far it may go instead of a budget."""

    def __init__(self, max_change_255: float) -> None:
        super().__init__(8)
        self.budget, self.max_change_255 = None, max_change_255


def test_a_declared_bound_is_held_against_the_photos() -> None:
    def budget_check(method: Protector) -> Any:
        return next(result for result in check_protector(method) if result.name == "budget (O-1)")

    kept, broken = budget_check(WithoutBudget(8)), budget_check(WithoutBudget(6))
    assert kept.passed and not kept.skipped and "8 of 8 grey levels" in kept.detail
    assert not broken.passed and "changed a value by 8 grey levels, declared at most 6" in broken.detail


class Peeking(Protector):
    """A mask made from the photos it is to protect."""

    name, scope, paper = "peeking", "identity", "none"

    def fit(self, batch: Any, context: Any) -> torch.Tensor:
        return torch.stack([batch.images[batch.owner == row].mean(dim=0) for row in range(len(batch.identities))])

    def perturb(self, batch: Any, fitted: Any, context: Any) -> torch.Tensor:
        return batch.images + 0.03 * (fitted[batch.owner] - 0.5).sign()


def test_the_suite_catches_a_mask_that_saw_its_probes() -> None:
    failed = {result.name for result in check_protector(Peeking()) if not result.passed}
    assert "mask never sees probes" in failed


def test_the_suite_catches_keys_that_do_not_match() -> None:
    config = {"_target_": "cloakbench.methods.controls.RandomSign"}
    assert failures(check_config(config)) == [
        "config keys reach the constructor: AssertionError: config has [], the constructor takes ['epsilon_255']"
    ]
