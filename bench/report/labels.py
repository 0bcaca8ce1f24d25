"""Names and order of everything a table or figure prints. Keys that are not listed print as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

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

QUALITY = {
    "ssim": ("SSIM ↑", 3),
    "ms_ssim_w7": ("MS-SSIM ↑", 3),
    "psnr": ("PSNR ↑ (dB)", 2),
    "lpips": ("LPIPS ↓", 3),
    "l2_255": ("L2 (grey levels)", 1),
    "linf_255": ("Linf (grey levels)", 1),
}
"""Quality metric to column label and printed decimals."""

REGIMES = {
    "standard": "Standard training",
    "augmented": "Strong augmentation",
    "adversarial": "Adversarial training",
}
"""Training regime of an attacker to printed name."""

FARS = ("1e-1", "1e-2", "1e-3")


@dataclass(frozen=True)
class TransformFamily:
    """How one kind of transform is ordered along an axis.

    Attributes:
        label: what the panel is called.
        strength: what its number means.
        order: ``up`` when a larger number is stronger, ``down`` when a smaller one is, ``two_sided`` when the photo as
            published lies between smaller and larger numbers.
    """

    label: str
    strength: str
    order: Literal["up", "down", "two_sided"] = "up"


TRANSFORMS = {
    "jpeg": TransformFamily("JPEG", "quality", "down"),
    "gaussian_blur": TransformFamily("Gaussian blur", "sigma (pixels)"),
    "gaussian_noise": TransformFamily("Gaussian noise", "sigma (grey levels)"),
    "resize": TransformFamily("Resize", "side (pixels)", "down"),
    "brightness": TransformFamily("Brightness", "factor", "two_sided"),
    "contrast": TransformFamily("Contrast", "factor", "two_sided"),
}


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


def scenario_name(key: str) -> str:
    """``standard_unprotected_0.2`` to ``20 % unprotected``; a regime alone to its printed name."""
    regime, _, share = key.partition("_unprotected_")
    name = REGIMES.get(regime, regime)
    if not share:
        return name
    return f"{100 * float(share):g} % unprotected" + ("" if regime == "standard" else f", {name.lower()}")


def budget_name(epsilon_255: float | None) -> str:
    """``8/255``, or ``no budget``."""
    return "no budget" if epsilon_255 is None else f"{epsilon_255:g}/255"


def split_transform(key: str) -> tuple[str, float] | None:
    """``gaussian_blur_1.5`` to ``("gaussian_blur", 1.5)``; None for a name without a strength."""
    match = re.fullmatch(r"(.+?)_([+-]?\d+(?:\.\d+)?)", key)
    return (match[1], float(match[2])) if match else None


def transform_families(keys: Iterable[str]) -> dict[str, list[str]]:
    """Transform keys by family, each list running from mild to strong and starting at the untransformed photo.

    A two-sided family runs from its smallest to its largest number, with the untransformed photo where it belongs:
    at 1 for factors, at 0 for signed shifts. A name without a strength is a family of its own.
    """
    strengths: dict[str, list[tuple[float, str]]] = {}
    for key in sorted(set(keys) - {UNTRANSFORMED}):
        family, strength = split_transform(key) or (key, 1.0)
        strengths.setdefault(family, []).append((strength, key))
    ordered = {}
    known = [*TRANSFORMS, *sorted(strengths)]
    for family in sorted(strengths, key=known.index):
        members = strengths[family]
        order = transform_family(family).order
        if order == "two_sided":
            neutral = 1.0 if all(0 < strength < 4 for strength, _ in members) else 0.0
            ordered[family] = [key for _, key in sorted([*members, (neutral, UNTRANSFORMED)])]
        else:
            ordered[family] = [UNTRANSFORMED, *(key for _, key in sorted(members, reverse=order == "down"))]
    return ordered


def transform_family(family: str) -> TransformFamily:
    """How to print a family; unlisted ones under their own name, larger meaning stronger."""
    return TRANSFORMS.get(family, TransformFamily(family.replace("_", " ").capitalize(), "strength"))


def strength_name(key: str) -> str:
    """Tick label of a transform: its number, ``none`` or its name."""
    parts = split_transform(key)
    return f"{parts[1]:g}" if parts else key.replace("_", " ")
