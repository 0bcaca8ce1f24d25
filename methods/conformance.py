"""Conformance of protection methods: what every one has to keep, checked on a tiny world made on the spot.

``cloakbench check method=...`` and the tests run the same suite: six small seeded faces of three people, a randomly
initialised convolutional recogniser, no weights, a few seconds. ``docs/architecture.md`` lists the checks by number.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from cloakbench.bench.core.checks import CheckResult, NotApplicableError, require, run_check
from cloakbench.bench.core.status import OK
from cloakbench.methods.base import Protected, Protector, without_title
from cloakbench.methods.context import Need
from cloakbench.methods.parts.hiding_checks import GOAL as HIDE
from cloakbench.methods.parts.hiding_checks import check_hiding, check_keys
from cloakbench.methods.parts.need_checks import check_needs
from cloakbench.methods.parts.recovery_checks import check_recovery
from cloakbench.methods.parts.shortened import in_short
from cloakbench.methods.parts.stage_checks import check_other_balls, check_resumption, other_balls
from cloakbench.methods.parts.tiny_world import (
    PERSONS,
    as_random_signs,
    select_photos,
    similarity,
    tiny_context,
    tiny_faces,
    tiny_photos,
    trained_context,
)
from cloakbench.methods.photo_batch import PhotoBatch

FLIPPED_PIXELS = 0.05
"""Share of pixels that may differ between batch sizes: float sums depend on the batch, and a sign step amplifies that
where a gradient is almost zero (invariant 6 there). Sharing a random draw over a batch changes far more."""


def check_protector(protector: Protector, zero_budget: Protector | None = None) -> list[CheckResult]:
    """Run every check on a method.

    Args:
        protector: the method as it would be used.
        zero_budget: the same method with a budget of 0, or None when it has no budget to set.
    """
    checks: dict[str, Callable[[], str]] = {
        "range and 8 bits": lambda: _check_range(protector),
        "budget (O-1)": lambda: _check_budget(protector),
        "determinism (O-2)": lambda: _check_determinism(protector),
        "batch invariance (O-6)": lambda: _check_batches(protector),
        "order invariance": lambda: _check_order(protector),
        "frozen models (O-7)": lambda: _check_frozen(protector),
        "zero budget is identity (O-3)": lambda: _check_zero_budget(zero_budget),
        "loss improves (O-4)": lambda: _check_effect(protector),
        "hides from people alone": lambda: check_hiding(protector),
        "mask does not depend on the probe (O-5)": lambda: _check_mask(protector),
        "mask never sees probes": lambda: _check_other_probes(protector),
        "photos come back with their key": lambda: check_recovery(protector),
        "training is resumed": lambda: check_resumption(protector),
        "needs are declared": lambda: check_needs(protector),
    }
    return [run_check(name, check) for name, check in checks.items()]


def check_config(config: Mapping[str, Any]) -> list[CheckResult]:
    """Run every check on the method a config describes, and check the config itself.

    Long searches and trainings are cut short (`in_short`).

    Args:
        config: the content of a file under ``conf/method``: ``_target_`` and its parameters.
    """
    from hydra.utils import instantiate

    config = without_title(config)
    short = in_short(config)
    zero = instantiate(short, epsilon_255=0) if "epsilon_255" in config else None
    protector = instantiate(short)

    def check_balls() -> str:
        if "match_norm" not in config:
            raise NotApplicableError("no match_norm")
        return check_other_balls(protector, [instantiate(short, match_norm=ball) for ball in other_balls()])

    return [
        run_check("config keys reach the constructor", lambda: _check_keys(config)),
        *check_protector(protector, zero),
        run_check("match_norm is the ball", check_balls),
    ]


def _protect(protector: Protector, batch: PhotoBatch | None = None) -> Protected:
    outcome = protector.protect(batch or tiny_photos(), trained_context(protector))
    require(all(status == OK for status in outcome.status), f"statuses {outcome.status}")
    return outcome


@lru_cache(maxsize=4)
def _first_run(protector: Protector) -> Protected:
    """The tiny photos as they are, protected once for all checks that look at the outcome; a search is seconds long."""
    return _protect(protector)


def _check_range(protector: Protector) -> str:
    batch, context = tiny_photos(), trained_context(protector)
    # Photos that reach both ends of the range, where a method that forgets to clip shows, with something in between:
    # a method may rightly give up on a photo of black and white alone.
    extreme = replace(batch, images=(4 * batch.images - 1.5).clamp(0, 1).mul(255).round() / 255)
    with torch.random.fork_rng(devices=[]):
        before = torch.random.get_rng_state()
        outcome = protector.protect(extreme, context)
        require(torch.equal(before, torch.random.get_rng_state()), "the global random state was used")
    require(outcome.images.dtype == torch.uint8 and outcome.images.shape == batch.images.shape, "not 8-bit photos")
    require(all(status == OK for status in outcome.status), f"statuses {outcome.status}")
    return "uint8, same shape, global random state untouched"


def _check_budget(protector: Protector) -> str:
    if protector.budget is None and protector.max_change_255 is None:
        raise NotApplicableError("no budget")
    outcome = _first_run(protector)
    if protector.budget is None:
        used, allowed = float(outcome.linf_255.max()), float(protector.max_change_255 or 0)
        require(used <= allowed + 0.5, f"changed a value by {used:g} grey levels, declared at most {allowed:g}")
        return f"changed values by up to {used:g} of {allowed:g} grey levels (no budget, a bound from the settings)"
    used = outcome.linf_255 if protector.budget.norm == "linf" else outcome.l2_255
    allowed = protector.budget.size_255
    if protector.budget.norm == "l2":
        allowed += 0.5 * outcome.images[0].numel() ** 0.5  # every value rounded to a whole grey level
    elif allowed != round(allowed):
        allowed += 0.5
    require(float(used.max()) <= allowed + 1e-3, f"used {float(used.max()):.3f} of {allowed} grey levels")
    return f"used {float(used.max()):g} of {protector.budget.size_255:g} grey levels ({protector.budget.norm})"


def _check_determinism(protector: Protector) -> str:
    require(torch.equal(_first_run(protector).images, _protect(protector).images), "two runs differ")
    return "two runs are equal"


def _check_batches(protector: Protector) -> str:
    if protector.scope == "dataset":
        raise NotApplicableError("scope dataset: photos share what is learnt")
    together = _first_run(protector).images
    worst = 0.0
    for person in range(len(PERSONS)):
        rows = [person] if protector.scope == "image" else [person, person + len(PERSONS)]
        alone = _protect(protector, select_photos(tiny_photos(), rows, [person])).images
        worst = max(worst, _share_different(alone, together[rows]))
    return _bounded(worst, "alone and in a batch")


def _check_order(protector: Protector) -> str:
    order, person_order = [4, 2, 0, 5, 1, 3], [2, 0, 1]
    shuffled = select_photos(tiny_photos(), order, person_order)
    worst = _share_different(_protect(protector, shuffled).images, _first_run(protector).images[order])
    return _bounded(worst, "in two orders")


def _check_frozen(protector: Protector) -> str:
    context = trained_context(protector)
    models = [*context.surrogates, *context.attribute_surrogates]
    before = [_fingerprint(model) for model in models]
    protector.protect(tiny_photos(), context)
    require(before == [_fingerprint(model) for model in models], "a surrogate was changed")
    return "parameters, buffers, modes, gradients and hooks unchanged"


def _check_zero_budget(zero: Protector | None) -> str:
    if zero is None:
        raise NotApplicableError("no epsilon_255 to set to 0")
    batch = tiny_photos()
    outcome = _protect(zero)
    require(torch.equal(outcome.images, (batch.images * 255).round().to(torch.uint8)), "photos changed")
    return "photos unchanged"


def _check_effect(protector: Protector) -> str:
    if protector.goal == "hide attributes":
        return _check_confidence(protector)
    if protector.goal != "evade recognition" or Need.SURROGATES not in protector.needs:
        raise NotApplicableError("does not attack a surrogate")
    batch, outcome = tiny_photos(), _first_run(protector)
    towards = Need.AIM in protector.needs  # a method that chooses its own target is held to leaving its person
    # As long a change for each photo: not every method has an Linf budget, or fills it.
    photos = outcome.images.float() / 255, as_random_signs(batch, outcome.l2_255)
    ours, control = (similarity(batch, one, towards) for one in photos)
    goal_name = "the target" if towards else "the person"
    seen = f"similarity to {goal_name} {ours:.3f}, with random signs of that length {control:.3f}"
    require(ours > control if towards else ours < control, seen)
    return seen


def _check_confidence(protector: Protector) -> str:
    """A method that hides attributes leaves less confidence in what was answered about the clean photo."""
    if Need.ATTRIBUTE_SURROGATES not in protector.needs:
        raise NotApplicableError("does not attack a surrogate")
    batch, (model, *_) = tiny_photos(), tiny_context().attribute_surrogates
    outcome = _first_run(protector)
    with torch.no_grad():
        clean = {name: scores.argmax(dim=1, keepdim=True) for name, scores in model.logits(batch.images).items()}
        ours, control = (
            float(torch.stack([s.softmax(1).gather(1, clean[name]) for name, s in model.logits(photos).items()]).mean())
            for photos in (outcome.images.float() / 255, as_random_signs(batch, outcome.l2_255))
        )
    seen = f"confidence in the clean answers {ours:.3f}, with random signs of that length {control:.3f}"
    require(ours < control, seen)
    return seen


def _check_mask(protector: Protector) -> str:
    if protector.scope not in ("identity", "universal"):
        raise NotApplicableError(f"scope {protector.scope}")
    if protector.goal == HIDE:
        return check_keys(protector, tiny_photos())
    masks = _first_differences(protector)
    people = len(PERSONS) if protector.scope == "identity" else 1  # a universal mask is everybody's
    return _same_mask(masks[:people].repeat(len(masks) // people, 1, 1, 1), masks)


def _check_other_probes(protector: Protector) -> str:
    if protector.scope == "image":
        raise NotApplicableError("scope image: each photo is its own")
    if protector.goal == "poison training":
        raise NotApplicableError("the noise is made for the very photos that are published")
    batch = tiny_photos()
    others = replace(batch, images=tiny_faces([f"{name}-unseen" for name in batch.image_id]))
    if protector.goal == HIDE:
        return check_keys(protector, others)
    unseen = _protect(protector, others).images.float() - (others.images * 255).round()
    return _same_mask(_first_differences(protector), unseen)


def _check_keys(config: Mapping[str, Any]) -> str:
    from hydra.utils import get_method

    parameters = set(inspect.signature(get_method(config["_target_"])).parameters)
    keys = {str(key) for key in config if not str(key).startswith("_")}
    # A partial node leaves the rest of the parameters to its caller.
    fits = keys <= parameters if config.get("_partial_") else keys == parameters
    require(fits, f"config has {sorted(keys)}, the constructor takes {sorted(parameters)}")
    for key in keys:
        if isinstance(config[key], Mapping) and "_target_" in config[key]:
            _check_keys(config[key])
    return ", ".join(sorted(keys)) or "no parameters"


def _bounded(share: float, how: str) -> str:
    seen = f"{share:.2%} of pixels differ {how}"
    require(share <= FLIPPED_PIXELS, seen)
    return seen


def _share_different(one: Tensor, other: Tensor) -> float:
    return float((one != other).float().mean())


def _first_differences(protector: Protector) -> Tensor:
    return _first_run(protector).images.float() - (tiny_photos().images * 255).round()


def _same_mask(one: Tensor, other: Tensor) -> str:
    """Equal but for roundings: ``round(255 (x + mask))`` may go either way where it is half a grey level."""
    gap, share = float((one - other).abs().max()), _share_different(one, other)
    require(gap <= 1 and share <= 0.001, f"masks differ by up to {gap:g} grey levels in {share:.2%} of pixels")
    return f"{share:.3%} of pixels differ"


def _fingerprint(model: nn.Module) -> tuple[str, ...]:
    state = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        state.update(name.encode() + tensor.cpu().numpy().tobytes())
    modules = [f"{m.training} {len(m._forward_hooks)} {len(m._forward_pre_hooks)}" for m in model.modules()]
    return (state.hexdigest(), *modules, *(f"{p.requires_grad} {p.grad is None}" for p in model.parameters()))
