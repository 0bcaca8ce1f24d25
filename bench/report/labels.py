"""Labels: printed names and order of methods. Keys that are not listed print as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable

CLEAN = "identity"
RANDOM_SIGN = "random_sign"
CONTROLS = (CLEAN, RANDOM_SIGN)
UNTRANSFORMED = "none"
VARIANT = ", "
"""Between a method's key and the settings that make a variant of it: ``pgd, steps 2``."""

METHODS = {
    CLEAN: "Clean photo",
    RANDOM_SIGN: "Random sign (control)",
    "em_max": "Error-maximising (control)",
    "fgsm": "FGSM",
    "pgd": "PGD",
    "mi_fgsm": "MI-FGSM",
    "ti_dim": "TI-DIM",
    "vmi_fgsm": "VMI-FGSM",
    "fi_uap": "FI-UAP",
    "fi_uap_plus": "FI-UAP+",
    "opom_affine_hull": "OPOM-AffineHull",
    "opom_class_center": "OPOM-ClassCenter",
    "opom_convex_hull": "OPOM-ConvexHull",
    "opom_convex_hull_dfanet_m": "DFANet-M-OPOM-ConvexHull",
    "apf": "APF",
    "fawkes_paper": "Fawkes (paper)",
    "fawkes_v1_low": "Fawkes v1 (low)",
    "fawkes_v1_mid": "Fawkes v1 (mid)",
    "fawkes_v1_high": "Fawkes v1 (high)",
    "tip_im": "TIP-IM",
    "tip_im_8": "TIP-IM (at 8/255)",
    "tip_im_linf": "TIP-IM (sign steps)",
    "tip_im_mmd": "TIP-IM (with MMD)",
    "lowkey": "LowKey (no LPIPS)",
    "lowkey_matched": "LowKey (no LPIPS), bounded",
    "lowkey_lpips": "LowKey",
    "em_class": "EM class-wise",
    "em_sample": "EM sample-wise",
    "rem": "REM (reduced)",
    "rem_full": "REM",
    "precomputed": "Precomputed",
}
"""Method key to the name its paper prints, in the order of the tables: controls first, weak before strong."""


def method_name(key: str) -> str:
    """Printed name of a method, and of a variant of one: ``pgd, steps 2`` to ``PGD, steps 2``."""
    method, comma, settings = key.partition(VARIANT)
    return METHODS.get(method, method) + comma + settings


def method_order(keys: Iterable[str]) -> list[str]:
    """Unique method keys: listed ones in the order of `METHODS`, then the others by name; variants by their numbers."""
    rank = {key: position for position, key in enumerate(METHODS)}

    def place(key: str) -> tuple[int, str, list[tuple[float, str]], str]:
        method, _, settings = key.partition(VARIANT)
        numbers = re.split(r"(-?\d+(?:\.\d+)?)", settings)
        parts = [(float(part), "") if position % 2 else (0.0, part) for position, part in enumerate(numbers)]
        return rank.get(method, len(rank)), method, parts, key

    return sorted(set(keys), key=place)


def budget_name(epsilon_255: float | None) -> str:
    """``8/255``, or ``no budget``."""
    return "no budget" if epsilon_255 is None else f"{epsilon_255:g}/255"
