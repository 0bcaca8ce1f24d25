"""Conformance of generators: what each has to keep, whatever it shows, checked on a few pictures.

``cloakbench check generator=NAME`` and the tests run the same suite. How good the pictures are is no matter of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cloakbench.bench.core.checks import CheckResult, require, run_check
from cloakbench.bench.core.random_streams import generator as stream
from cloakbench.models.conformance import IMAGES
from cloakbench.models.generators import Generator
from cloakbench.models.module_checks import check_mode, check_unchanged

VIEWS = 3
FLIP_TOLERANCE = 1.5 / 255
"""Largest difference of a value between a photo alone and in company: float sums depend on the batch, and views are
rounded to grey levels. Whatever looks at other photos, or draws from one stream for all of them, changes far more."""


def check_generator(model: Generator, photos: Tensor) -> list[CheckResult]:
    """Run every check.

    Args:
        model: the generator as it would be used, on the device of ``photos``.
        photos: four different ones, float ``[4, 3, H, W]`` in [0, 1]; faces where the generator wants faces.
    """
    checks: dict[str, Callable[[Generator, Tensor], str]] = {
        "size and range": _check_answer,
        "equal seeds, equal views": _check_determinism,
        "each photo for itself": _check_company,
        "views depend on the photo": _check_photo,
        "views of a photo differ": _check_variety,
        "views depend on the stream": _check_stream,
        "no global random state": _check_random_state,
        "frozen": _check_frozen,
        "eval mode whatever train() says": _check_mode,
    }
    return [run_check(name, lambda check=check: check(model, photos)) for name, check in checks.items()]


def _views(model: Generator, photos: Tensor, names: Sequence[str] = IMAGES, seed: int = 0) -> Tensor:
    return model.views(photos, VIEWS, [stream("generator conformance", seed, name) for name in names])


def _check_answer(model: Generator, photos: Tensor) -> str:
    made = _views(model, photos)  # which refuses another size and range
    require(made.dtype == torch.float32, f"{made.dtype}, not float32")
    require(not made.requires_grad, "views carry a gradient")
    one = model.views(photos[:1], 1, [stream("generator conformance", 0, IMAGES[0])])
    require(len(one) == 1, "one view of one photo is not one")
    return f"{tuple(made.shape)} in [0, 1]"


def _check_determinism(model: Generator, photos: Tensor) -> str:
    require(torch.equal(_views(model, photos), _views(model, photos)), "two calls with equal streams differ")
    return "two calls give the same bytes"


def _check_company(model: Generator, photos: Tensor) -> str:
    together = _views(model, photos)
    alone = torch.cat([_views(model, photos[row : row + 1], [name]) for row, name in enumerate(IMAGES)])
    order = list(reversed(range(len(IMAGES))))
    turned = _views(model, photos[order], [IMAGES[row] for row in order])[order]
    for company, other in (("alone", alone), ("in another order", turned)):
        difference = float((together - other).abs().max())
        require(
            difference <= FLIP_TOLERANCE,
            f"a view {company} is up to {255 * difference:.1f} grey levels from the same in company, allowed "
            f"{255 * FLIP_TOLERANCE:g}",
        )
    return f"alone, in company and in another order within {255 * FLIP_TOLERANCE:g} grey levels"


def _check_photo(model: Generator, photos: Tensor) -> str:
    shown = photos.flip(0)
    require(not torch.equal(_views(model, photos), _views(model, shown)), "other photos give the same views")
    return "other photos give other views"


def _check_variety(model: Generator, photos: Tensor) -> str:
    made = _views(model, photos)
    for row, name in enumerate(IMAGES):
        for first in range(VIEWS):
            for second in range(first):
                require(not torch.equal(made[row, first], made[row, second]), f"two views of photo {name} are equal")
    return "no two views of a photo are equal"


def _check_stream(model: Generator, photos: Tensor) -> str:
    require(not torch.equal(_views(model, photos), _views(model, photos, seed=1)), "another seed gives the same views")
    return "another seed gives other views"


def _check_random_state(model: Generator, photos: Tensor) -> str:
    made = []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[photos.device] if photos.device.type == "cuda" else []):
            torch.manual_seed(seed)
            before = torch.random.get_rng_state()
            made.append(_views(model, photos))
            require(torch.equal(before, torch.random.get_rng_state()), "it draws from torch's global random state")
    require(torch.equal(made[0], made[1]), "views depend on torch's global random state")
    return "neither read nor changed"


def _check_frozen(model: Generator, photos: Tensor) -> str:
    return check_unchanged(model, lambda: _views(model, photos), "making views")


def _check_mode(model: Generator, photos: Tensor) -> str:
    return check_mode(model, lambda: _views(model, photos))
