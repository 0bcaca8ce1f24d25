"""`h_pn`: privacy and naturalness in one number (Yang et al., Invisible-Face, TIFS 2025, Eqs. 22 and 23).

H-PN is the harmonic mean of MOSR and ``S_nat = (SSIM + PSNR*) / 2``. The paper says of ``PSNR*`` only that it is
normalised to [0, 1]; ``clip((PSNR - 10) / 40, 0, 1)`` is what its own numbers come to best, and ``PSNR / 60`` stands
beside it. Both are taken of means over photos, so no photo has an H-PN of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cloakbench.bench.core.status import OK, UNAVAILABLE
from cloakbench.bench.engine.rates import MEASUREMENT_FIELDS, Trials
from cloakbench.bench.protocols.attributes.metrics import H_PN, H_PN_60
from cloakbench.bench.statistics.intervals import PersonSums, percentile_interval

Floats = NDArray[np.float64]

PSNR_CAP = 100.0
"""dB of two equal photos, whose ratio is infinite."""


def clipped_psnr(psnr: Floats) -> Floats:
    """10 dB to 0, 50 dB to 1."""
    return np.clip((psnr - 10) / 40, 0, 1)


def psnr_over_60(psnr: Floats) -> Floats:
    """60 dB to 1."""
    return np.clip(psnr / 60, 0, 1)


def harmonic(mosr: Floats, ssim: Floats, psnr: Floats, *, normalised: Callable[[Floats], Floats]) -> Floats:
    """H-PN of means; 0 where nobody is protected or nothing is natural.

    Args:
        mosr: in [0, 1].
        ssim: mean SSIM.
        psnr: mean PSNR in dB.
        normalised: PSNR to [0, 1].
    """
    natural = np.clip((ssim + normalised(psnr)) / 2, 0, None)
    both = mosr + natural
    return np.divide(2 * mosr * natural, both, out=np.zeros_like(both), where=both > 0)


def h_pn_measurements(
    records: pd.DataFrame, rate: Trials, ssim: Floats, psnr: Floats, resamples: int, seed: int
) -> pd.DataFrame:
    """A row for each normalisation with the columns `MEASUREMENT_FIELDS`; people are drawn for all three means at once.

    Args:
        records: one row per photo, with ``identity`` and ``status``.
        rate: events and trials of MOSR.
        ssim, psnr: of each photo; equal photos have no PSNR and count as `PSNR_CAP`.
        resamples, seed: of the bootstrap.
    """
    psnr = np.where(np.isnan(psnr) & ~np.isnan(ssim), PSNR_CAP, psnr)
    ok = (records["status"] == OK).to_numpy()
    counted = ok & (rate.trials > 0) & ~np.isnan(ssim)
    lost = int((~ok).sum())
    shared = {"n": int(counted.sum()), "n_failed": lost, "note": f"{lost} of {len(ok)} photos failed" * bool(lost)}
    if not counted.any():
        empty = {"value": np.nan, "low": np.nan, "high": np.nan, "n_identities": 0, "status": UNAVAILABLE}
        gap = shared | empty | {"note": rate.empty if ok.any() else shared["note"]}
        return pd.DataFrame([{"metric": name, **gap} for name in (H_PN, H_PN_60)], columns=list(MEASUREMENT_FIELDS))
    columns = np.stack([rate.events, ssim, psnr], axis=1)[counted]
    sums = PersonSums.of(columns, np.ones_like(columns), records["identity"].to_numpy()[counted])
    drawn = sums.replicates(resamples, seed)
    rows = []
    for name, normalised in ((H_PN, clipped_psnr), (H_PN_60, psnr_over_60)):
        value = float(harmonic(*np.split(sums.ratios(), 3), normalised=normalised)[0])
        low, high = percentile_interval(harmonic(*drawn.T, normalised=normalised))
        ends = (min(value, float(low)), max(value, float(high))) if sums.n_identities > 1 else (np.nan, np.nan)
        found = {"metric": name, "value": value, "low": ends[0], "high": ends[1]}
        rows.append({**found, **shared, "n_identities": sums.n_identities, "status": OK})
    return pd.DataFrame(rows, columns=list(MEASUREMENT_FIELDS))
