"""Labels: printed names and order of methods. Keys that are not listed print as they are."""

from __future__ import annotations

from collections.abc import Iterable

from cloakbench.bench.core.axes import in_order, row_name, split_row_name

CLEAN = "identity"
RANDOM_SIGN = "random_sign"
CONTROLS = (CLEAN, RANDOM_SIGN)
UNTRANSFORMED = "none"

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


def method_name(row: str) -> str:
    """Printed name of a method, or of a variant of one: ``pgd (steps=2)`` to ``PGD (steps=2)``."""
    method, variant = split_row_name(row)
    return row_name(METHODS.get(method, method), variant)


def method_order(rows: Iterable[str]) -> list[str]:
    """Unique names of rows: methods in the order of `METHODS`, then others by name; variants by their numbers."""
    rank = {key: position for position, key in enumerate(METHODS)}
    known = {row: split_row_name(row) for row in rows}
    variants = in_order(variant for _, variant in known.values())

    def place(row: str) -> tuple[int, str, int]:
        method, variant = known[row]
        return rank.get(method, len(rank)), method, variants.index(variant)

    return sorted(known, key=place)
