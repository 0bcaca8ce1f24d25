"""Scenarios: the regime and the share of unprotected photos that an attacker meets, and how they are printed."""

from __future__ import annotations

_SHARE = "_unprotected_"
_REGIMES = {
    "standard": "Standard training",
    "augmented": "Strong augmentation",
    "adversarial": "Adversarial training",
}


def scenario_label(regime: str, share: float) -> str:
    """In the measurements: ``standard``, ``standard_unprotected_0.2``."""
    return regime + (f"{_SHARE}{share:g}" if share else "")


def scenario_of(label: str) -> tuple[str, float]:
    """Regime and share of a label."""
    regime, _, share = label.partition(_SHARE)
    return regime, float(share or 0)


def scenario_name(label: str) -> str:
    """A label as tables print it."""
    return scenario_title(*scenario_of(label))


def scenario_title(regime: str, share: float) -> str:
    """Regime and share as a table prints them: ``20 % unprotected``, or the regime's name alone."""
    name = _REGIMES.get(regime, regime)
    if not share:
        return name
    return f"{100 * share:g} % unprotected" + ("" if regime == "standard" else f", {name.lower()}")
