"""Settings of a poisoning, held against what they must be before anything is planned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from cloakbench.bench.core.ranges import SettingError, is_grey_levels, is_number, is_whole

_BUDGETS = "a list of numbers from 0 to 255 in grey levels such as [4,8] (8 for 8/255), each once"


def check_counts(counts: Mapping[str, tuple[int | None, int]]) -> None:
    """Counts with the least that each may be; None stands for everybody.

    Raises:
        SettingError: one is no whole number, or too small.
    """
    for name, (value, least) in counts.items():
        if value is not None and not (is_whole(value) and value >= least):
            raise SettingError(name, value, f"a whole number of at least {least}, or null")


def check_budgets(name: str, budgets: Sequence[float] | None) -> None:
    """A list of budgets in grey levels, or None.

    Raises:
        SettingError: one is out of range, or stands twice.
    """
    if budgets is not None and not (all(map(is_grey_levels, budgets)) and _once(budgets)):
        raise SettingError(name, list(budgets), _BUDGETS)


def check_lists(shares: Sequence[float], seeds: Sequence[int]) -> None:
    """Shares of unprotected photos, and seeds of trainings.

    Raises:
        SettingError: a list is empty, repeats itself, or holds something else.
    """
    if not (shares and all(is_number(one) and 0 <= one < 1 for one in shares) and _once(shares)):
        words = "a list of shares from 0 to below 1 such as [0.0,0.2], each once"
        raise SettingError("clean_shares", list(shares), words)
    if not (seeds and all(is_whole(one) and one >= 0 for one in seeds) and _once(seeds)):
        raise SettingError("seeds", list(seeds), "a list of whole numbers such as [0,1,2], each once")


def check_parts(attackers: Collection[str], regimes: Collection[str], conditions_on: Sequence[str] | None) -> None:
    """Who trains, and how.

    Raises:
        SettingError: nobody does, or a condition is asked of somebody who does not.
    """
    for name, parts in {"attackers": attackers, "regimes": regimes}.items():
        if not parts:
            raise SettingError(name, [], "at least one")
    if missing := [key for key in conditions_on or () if key not in attackers]:
        raise SettingError("conditions_on", missing[0], f"a list of names of attackers: {', '.join(attackers)}")


def _once(values: Sequence[object]) -> bool:
    return not any(value in values[:place] for place, value in enumerate(values))
