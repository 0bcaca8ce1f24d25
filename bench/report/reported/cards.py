"""Typed matches on model cards: which of a run's networks a printed column or surrogate stands beside."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cloakbench.bench.report.estimate import records, text

_WHOLE = ("name", "family", "head")
_BEGINNING = ("backbone", "stands_for")
FIELDS = (*_WHOLE, *_BEGINNING, "robust")
"""Columns of a model card that a match may name."""


@dataclass(frozen=True)
class CardMatch:
    """A condition on one model card; all its parts must hold.

    Attributes:
        fields: column and the text asked for, in lower case without separators. ``name``, ``family`` and ``head`` must
            be equal to it, ``backbone`` and ``stands_for`` must begin with it: ``MobileNet`` is a ``MobileNet v1``.
        robust: whether the network was trained against attacks; the papers' networks were not.
    """

    fields: tuple[tuple[str, str], ...]
    robust: bool = False

    def fits(self, card: Mapping[str, Any]) -> bool:
        """Whether the card is meant."""
        for column, wanted in self.fields:
            found = _plain(card[column])
            if not (found == wanted if column in _WHOLE else found.startswith(wanted)):
                return False
        return bool(card["robust"]) == self.robust


def read_match(given: Any) -> CardMatch:
    """A match as the YAML files write it: ``{family: mobilenet}``.

    Raises:
        ValueError: no mapping, an unknown column, a value that is no text, or nothing but ``robust``.
    """
    if not isinstance(given, Mapping) or not set(given) - {"robust"}:
        raise ValueError(f"{given!r} matches no model card; name one of {', '.join(FIELDS)}")
    if unknown := sorted(map(str, set(given) - set(FIELDS))):
        raise ValueError(f"a model card has no column {unknown[0]!r}; use {', '.join(FIELDS)}")
    robust = given.get("robust", False)
    texts = {column: value for column, value in given.items() if column != "robust"}
    if not isinstance(robust, bool) or not all(isinstance(value, str) and _plain(value) for value in texts.values()):
        raise ValueError(f"{dict(given)!r} matches no model card: robust is true or false, all else is text")
    return CardMatch(tuple((column, _plain(value)) for column, value in texts.items()), robust)


Networks = Mapping[str, Sequence[CardMatch]]
"""Printed key to its matches, the best first; keys that must choose first stand first."""


def assign(
    models: pd.DataFrame, networks: Networks, avoid: Collection[str] = (), role: str = "target"
) -> dict[str, str]:
    """Printed key to the model that stands beside it, in the order of ``networks``.

    One model stands for one key. Better matches are assigned before worse ones, and of equal ones the first in the
    order of ``models``. Models to ``avoid`` (the surrogates of a black-box table) are taken only where no other fits.

    Args:
        models: model cards.
        networks: what to match.
        avoid: names to take last.
        role: ``target`` or ``surrogate``; others are no candidates.
    """
    chosen: dict[str, str] = {}
    cards = [card for card in records(models) if role in text(card["roles"])]
    last = [card for card in cards if card["name"] in avoid]
    first = [card for card in cards if card["name"] not in avoid]
    levels = range(max((len(matches) for matches in networks.values()), default=0))
    for candidates in (first, last):
        for level in levels:
            for key, matches in networks.items():
                if key in chosen or level >= len(matches):
                    continue
                fitting = [card["name"] for card in candidates if matches[level].fits(card)]
                free = [name for name in fitting if name not in chosen.values()]
                if free:
                    chosen[key] = free[0]
    return {key: chosen[key] for key in networks if key in chosen}


def _plain(value: Any) -> str:
    return re.sub(r"[\W_]+", "", text(value).lower())
