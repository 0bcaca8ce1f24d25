"""Conformance of recognisers and attribute networks: what each has to keep, whatever its weights, on a few images.

``cloakbench check model=...`` and the tests run the same suite. What a recogniser has to do on faces, its accuracy and
its input convention, is checked in :mod:`cloakbench.bench.recognisers.face_checks`, because that needs faces.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.checks import CheckResult, require, run_check
from cloakbench.bench.core.random_streams import uniform_per_item
from cloakbench.models.attributes import AttributeModel
from cloakbench.models.base import Recogniser
from cloakbench.models.module_checks import check_mode, check_unchanged

SIDE = 112
IMAGES = ("one", "two", "three", "four")
UNIT_TOLERANCE = 1e-4
"""Largest distance of an embedding's norm from 1."""
BATCH_TOLERANCE = 1e-4
"""Largest difference of an embedding value between an image alone and in a batch: float32 sums depend on the batch
(measured: below 1e-6). Anything that looks at the other images, such as batch statistics, changes far more."""
STEP = 0.005
"""Euclidean length of the step to either side for the finite difference, over pixels in [0, 1]."""
SLOPE_TOLERANCE = 0.1
"""Relative difference allowed between the gradient and the finite difference along it: the function bends within the
step and float32 rounds (measured: below 0.02). A scale forgotten on the way back is off by 2 to 255 times."""


def smooth_images(device: torch.device | str = "cpu") -> Tensor:
    """Images ``[4, 3, 112, 112]`` in [0.1, 0.9] from named streams: a coarse pattern and fine noise, no faces."""
    pattern = F.interpolate(uniform_per_item(IMAGES, (3, 7, 7), 0.2, 0.8, "model conformance"), SIDE, mode="bilinear")
    return (pattern + uniform_per_item(IMAGES, (3, SIDE, SIDE), -0.1, 0.1, "model conformance noise")).to(device)


def check_recogniser(model: Recogniser, images: Tensor) -> list[CheckResult]:
    """Run every check that needs no faces.

    Args:
        model: the recogniser as it would be used, on the device of ``images``.
        images: at least two, float ``[N, 3, H, W]`` in [0, 1]; `smooth_images` where there is nothing better.
    """
    checks: dict[str, Callable[[Recogniser, Tensor], str]] = {
        "embedding shape": _check_shape,
        "unit norm": _check_norm,
        "determinism": _check_determinism,
        "no global random state": _check_random_state,
        "batch invariance": _check_batches,
        "gradient to the input": _check_gradient,
        "frozen": _check_frozen,
        "eval mode whatever train() says": _check_mode,
    }
    return [run_check(name, lambda check=check: check(model, images)) for name, check in checks.items()]


class AnswersAsEmbedding(nn.Module):
    """An attribute network whose answers, side by side and scaled to unit length, stand for an embedding, so that the
    checks of recognisers hold it to the same."""

    def __init__(self, model: AttributeModel) -> None:
        super().__init__()
        self.model = model
        self.training = False

    def train(self, mode: bool = True) -> AnswersAsEmbedding:
        """Leaves the mode to the network."""
        self.model.train(mode)
        return self

    def embed(self, images: Tensor) -> Tensor:
        """Unit vectors ``[N, sum C]``."""
        return F.normalize(torch.cat(list(self.model.logits(images).values()), dim=1))


def check_attribute_model(model: AttributeModel, images: Tensor) -> list[CheckResult]:
    """Run every check on a network that tells attributes.

    Args:
        model: as it would be used, on the device of ``images``.
        images: as in `check_recogniser`.
    """
    checks: dict[str, Callable[[Embedder, Tensor], str]] = {
        "determinism": _check_determinism,
        "no global random state": _check_random_state,
        "batch invariance": _check_batches,
        "gradient to the input": _check_gradient,
        "frozen": _check_frozen,
        "eval mode whatever train() says": _check_mode,
    }
    as_embedder = AnswersAsEmbedding(model)
    return [
        run_check("answers", lambda: _check_answers(model, images)),
        *(run_check(name, lambda check=check: check(as_embedder, images)) for name, check in checks.items()),
    ]


@torch.no_grad()
def _check_answers(model: AttributeModel, images: Tensor) -> str:
    answers = model.logits(images)
    names = [output.name for output in model.outputs]
    require(list(answers) == names, f"answers {', '.join(answers)} where {', '.join(names)} are declared")
    for output in model.outputs:
        answer, width = answers[output.name], max(len(output.classes), 1)
        expected = (len(images), width)
        require(tuple(answer.shape) == expected, f"{output.name}: {tuple(answer.shape)}, declared {expected}")
        require(answer.dtype == torch.float32, f"{output.name}: {answer.dtype}, not float32")
        require(bool(answer.isfinite().all()), f"{output.name}: a value is not finite")
    return f"{len(names)} attributes, finite float32"


Embedder = Recogniser | AnswersAsEmbedding


@torch.no_grad()
def _embed(model: Embedder, images: Tensor) -> Tensor:
    return model.embed(images)


def _check_shape(model: Recogniser, images: Tensor) -> str:
    embeddings = _embed(model, images)
    expected = (len(images), model.card.embedding_size)
    require(tuple(embeddings.shape) == expected, f"{tuple(embeddings.shape)} where the card says {expected}")
    require(embeddings.dtype == torch.float32, f"{embeddings.dtype}, not float32")
    require(bool(embeddings.isfinite().all()), "a value is not finite")
    return f"{expected[1]} finite float32 values per image"


def _check_norm(model: Recogniser, images: Tensor) -> str:
    error = float((_embed(model, images).double().norm(dim=1) - 1).abs().max())
    require(error <= UNIT_TOLERANCE, f"a norm is {error:.2g} away from 1, allowed {UNIT_TOLERANCE:g}")
    return f"within {error:.1g} of 1 (allowed {UNIT_TOLERANCE:g})"


def _check_determinism(model: Embedder, images: Tensor) -> str:
    require(torch.equal(_embed(model, images), _embed(model, images)), "two calls with the same images differ")
    return "two calls give the same bytes"


def _check_random_state(model: Embedder, images: Tensor) -> str:
    answers = []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[images.device] if images.device.type == "cuda" else []):
            torch.manual_seed(seed)
            before = torch.random.get_rng_state()
            answers.append(_embed(model, images))
            require(torch.equal(before, torch.random.get_rng_state()), "embedding draws from the global random state")
    require(torch.equal(*answers), "the answer depends on the global seed")
    return "neither read nor moved"


def _check_batches(model: Embedder, images: Tensor) -> str:
    alone = torch.cat([_embed(model, image[None]) for image in images])
    gap = float((alone - _embed(model, images)).abs().max())
    require(gap <= BATCH_TOLERANCE, f"alone and in a batch differ by {gap:.2g}, allowed {BATCH_TOLERANCE:g}")
    return f"alone and in a batch within {gap:.1g} (allowed {BATCH_TOLERANCE:g})"


def _check_gradient(model: Embedder, images: Tensor) -> str:
    """Of the cosine with the next image's embedding; against a central difference along the gradient itself."""
    goal = _embed(model, images).roll(1, dims=0)
    # Away from black and white, where a network may clamp and a step to either side would see only half a slope.
    centre = (0.1 + 0.8 * images).requires_grad_()
    (gradient,) = torch.autograd.grad((model.embed(centre) * goal).sum(), centre)
    require(bool(gradient.isfinite().all()), "a gradient is not finite")
    steepness = gradient.flatten(1).norm(dim=1)
    require(bool((steepness > 0).all()), "the gradient of an image is zero")
    step = STEP * gradient / steepness.view(-1, 1, 1, 1)
    up, down = (_embed(model, centre.detach() + sign * step) for sign in (1, -1))
    slope = ((up - down) * goal).sum(dim=1) / (2 * STEP)
    error = float(((slope - steepness) / steepness).abs().max())
    seen = f"norm {float(steepness.min()):.3g} to {float(steepness.max()):.3g}, finite difference off by {error:.1%}"
    require(error <= SLOPE_TOLERANCE, f"{seen}, allowed {SLOPE_TOLERANCE:.0%}")
    return f"finite, {seen} (allowed {SLOPE_TOLERANCE:.0%})"


def _check_frozen(model: Embedder, images: Tensor) -> str:
    image = images.clone().requires_grad_()
    told = check_unchanged(model, lambda: model.embed(image).sum().backward(), "a forward and backward pass")
    require(all(parameter.grad is None for parameter in model.parameters()), "parameters collect gradients")
    return told


def _check_mode(model: Embedder, images: Tensor) -> str:
    return check_mode(model, lambda: _embed(model, images))
