"""Named parameters of many faces, and the random draws they are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator

DRAW_LIMIT = 2.2  # normals are clamped to this many standard deviations: no monsters


class Traits:
    """Named columns with one row per face: ``[N]`` for scalars, ``[N, K]`` for colours and lists.

    An attribute, ``face.chin`` or ``face.skin``, is the column shaped ``[N, K, 1, 1]`` so that it combines with fields
    of pixels ``[N, 1, H, W]``. ``column`` gives it as it is stored.
    """

    def __init__(self, columns: Mapping[str, Tensor]) -> None:
        self._columns = dict(columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_"):  # copy and pickle look for special names before there are columns
            raise AttributeError(name)
        try:
            column = self._columns[name]
        except KeyError:
            raise AttributeError(f"no parameter {name!r}") from None
        return column.reshape(len(column), -1, 1, 1)

    def column(self, name: str) -> Tensor:
        """The column ``[N]`` or ``[N, K]``."""
        return self._columns[name]

    def select(self, rows: Tensor) -> Traits:
        """The faces at ``rows``, in that order."""
        return Traits({name: column[rows] for name, column in self._columns.items()})


class Draws:
    """Random numbers for many items, each from its own named stream.

    Row ``i`` depends on ``(*name, items[i])`` only. Calls hand out one column after the other, so adding a call at the
    end of a sampler leaves the earlier parameters as they were.
    """

    COLUMNS = 160

    def __init__(self, items: Sequence[str], *name: object) -> None:
        self._normals = torch.empty(len(items), self.COLUMNS)
        self._uniforms = torch.empty(len(items), self.COLUMNS)
        for row, item in enumerate(items):
            stream = generator(*name, item)
            self._normals[row].normal_(generator=stream)
            self._uniforms[row].uniform_(generator=stream)
        self._normals.clamp_(-DRAW_LIMIT, DRAW_LIMIT)
        self._next_normal = 0
        self._next_uniform = 0

    def normal(self, deviation: float = 1.0) -> Tensor:
        """Clamped normals ``[N]`` with mean 0."""
        self._next_normal += 1
        return self._normals[:, self._next_normal - 1] * deviation

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform numbers ``[N]``."""
        self._next_uniform += 1
        return low + (high - low) * self._uniforms[:, self._next_uniform - 1]

    def choice(self, count: int) -> Tensor:
        """Equally likely integers ``0 .. count - 1``."""
        return (self.uniform() * count).long().clamp(max=count - 1)

    def chance(self, probability: float | Tensor) -> Tensor:
        """True with the given probability, which may differ between rows."""
        return self.uniform() < probability

    def weighted(self, weights: Tensor) -> Tensor:
        """An index per row, drawn with the row's ``weights [N, K]``."""
        edges = weights.cumsum(1)
        return (self.uniform()[:, None] * edges[:, -1:] > edges).sum(1).clamp(max=weights.shape[1] - 1)

    def normal_colour(self, deviation: float, channels: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Tensor:
        """Normals ``[N, 3]``, each channel with its own share of the deviation."""
        return torch.stack([self.normal(deviation * channel) for channel in channels], 1)
