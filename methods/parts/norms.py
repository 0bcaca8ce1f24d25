"""Norm matching: masks scaled to the ball that other methods use, for rates that are to stand side by side."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import SettingError, at_least, grey_levels
from cloakbench.methods.base import Budget

_ONE_NORM = "null or one norm, {linf: 8} or {l2: 1200} in grey levels; set the other norm to null"


class NormMatch:
    """What a method's ``match_norm`` asks for: every mask scaled, up or down, until its norm is exactly that size.

    Source: AdvCloak (Liu et al., 2023) as released, which deploys masks at an L2 norm of 1200 grey levels and with
    no Linf bound, where an Linf mask of 8 has at most 1552 (112 px). In 8 bits rounding moves either norm a little.

    Args:
        match_norm: ``linf`` or ``l2`` to grey levels; a norm that is None does not count. None leaves masks alone.

    Raises:
        SettingError: two norms, none, one of another name, or a size out of range.
    """

    def __init__(self, match_norm: Mapping[str, float | None] | None) -> None:
        self.ball: Budget | None = None
        if match_norm is None:
            return
        sizes = {str(norm): size for norm, size in match_norm.items() if size is not None}
        if len(sizes) != 1 or not set(sizes) <= {"linf", "l2"}:
            raise SettingError("match_norm", dict(match_norm), _ONE_NORM)
        if "linf" in sizes:
            self.ball = Budget("linf", grey_levels("match_norm.linf", sizes["linf"]))
        else:
            self.ball = Budget("l2", at_least("match_norm.l2", sizes["l2"]))

    def budget(self, own: Budget | None) -> Budget | None:
        """The ball that matched masks lie in, or else the method's own."""
        return own if self.ball is None else self.ball

    def scaled(self, masks: Tensor) -> Tensor:
        """Masks ``[N, 3, H, W]`` on the scale of [0, 1], each with the norm asked for; a mask of zeros stays zero."""
        if self.ball is None:
            return masks
        flat = masks.flatten(1)
        norms = flat.abs().amax(dim=1) if self.ball.norm == "linf" else torch.linalg.vector_norm(flat, dim=1)
        factors = self.ball.size_255 / 255 / torch.where(norms == 0, 1.0, norms)
        return masks * factors.view(-1, 1, 1, 1)
