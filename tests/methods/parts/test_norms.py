"""Norm matching: exact norms, and one line for what cannot be meant."""

from __future__ import annotations

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import SettingError
from cloakbench.methods.base import Budget, without_title
from cloakbench.methods.parts.norms import NormMatch


def masks() -> torch.Tensor:
    return torch.randn(3, 3, 20, 20, generator=generator("norms")) * torch.tensor([1e-4, 0.02, 3.0]).view(-1, 1, 1, 1)


def test_every_mask_has_exactly_the_norm_asked_for_whichever_it_had() -> None:
    long = NormMatch({"l2": 1200}).scaled(masks()).flatten(1).norm(dim=1) * 255
    torch.testing.assert_close(long, torch.full((3,), 1200.0), atol=1e-2, rtol=0)
    high = NormMatch({"linf": 8}).scaled(masks()).flatten(1).abs().amax(dim=1) * 255
    torch.testing.assert_close(high, torch.full((3,), 8.0), atol=1e-5, rtol=0)


def test_the_budget_is_the_ball_asked_for_and_without_one_the_methods_own() -> None:
    own = Budget("linf", 10)
    assert NormMatch({"linf": None, "l2": 1200}).budget(own) == Budget("l2", 1200)
    assert NormMatch(OmegaConf.create({"linf": 8})).budget(None) == Budget("linf", 8)  # type: ignore[arg-type]
    assert NormMatch(None).budget(own) is own and NormMatch(None).scaled(masks()).equal(masks())


def test_no_mask_and_no_norm_stay_zero() -> None:
    assert not NormMatch({"l2": 1200}).scaled(torch.zeros(1, 3, 4, 4)).any()
    assert not NormMatch({"linf": 0}).scaled(masks()).any()


@pytest.mark.slow
def test_on_a_command_line_the_ball_of_a_file_gives_way_to_another() -> None:
    def ball(*overrides: str) -> Budget | None:
        config = compose_config(["+method@m=advfaces_plus", *overrides]).m
        return instantiate(without_title(config)).budget

    assert ball() == Budget("l2", 1200)
    assert ball("m.match_norm={linf: 8, l2: null}") == Budget("linf", 8)
    assert ball("m.match_norm=null") is None
    with pytest.raises(InstantiationException, match="set the other norm to null"):
        ball("m.match_norm.linf=8")


@pytest.mark.parametrize("setting", [{"linf": 8, "l2": 1200}, {}, {"linf": None}, {"l1": 3}, {"linf": 300}, {"l2": -1}])
def test_what_names_no_single_ball_is_one_line(setting: dict[str, float]) -> None:
    with pytest.raises(SettingError, match="match_norm") as problem:
        NormMatch(setting)
    assert "\n" not in str(problem.value)
    if len(setting) == 2:
        assert str(problem.value) == (
            "match_norm is {'linf': 8, 'l2': 1200}: it must be null or one norm, {linf: 8} or {l2: 1200} in grey "
            "levels; set the other norm to null"
        )
