"""One-to-one verification at fixed thresholds: is the protected photo still accepted, and as whom?

A pair is accepted when its cosine is strictly above the threshold. Thresholds are calibrated per target on people who
play no other role (:mod:`cloakbench.bench.protocols.verification.calibration`), or are the legacy constants of the
target's card.

Dodging: every ordered pair (protected photo i, clean photo j of the same person) is a trial, won when it is not
accepted; ``given_clean`` keeps only the pairs that the clean photo i wins for the attacker, which takes out the false
rejects that the target makes anyway. Impersonation: a protected photo is one trial, won when it is accepted as
another photo of the person it was pushed towards (FaceCloak Table III, after AMT-GAN).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloakbench.bench.core.ranges import SettingError, is_number, one_of
from cloakbench.bench.core.status import OK, SKIPPED, UNAVAILABLE
from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.engine.rates import Trials
from cloakbench.bench.protocols.recognition.protocol import RecognitionProtocol, known, nullable
from cloakbench.bench.protocols.recognition.responses import Mates, Responses, answered, cosine, count_rows
from cloakbench.bench.protocols.verification.calibration import FARS, add_legacy, calibrate
from cloakbench.bench.protocols.verification.thresholds import Calibration, stored_thresholds
from cloakbench.bench.report.metric import Metric

if TYPE_CHECKING:
    from cloakbench.bench.report.index import Measured
    from cloakbench.bench.report.section import Headline, Section

_NO_THRESHOLD = {
    "calibrated": "no threshold: too few impostor pairs for this false accept rate",
    "legacy": "no threshold: the target's card has no legacy constant for this false accept rate",
}


def far_label(far: float) -> str:
    """A rate as it stands in metric names: 0.01 is ``1e-2``."""
    mantissa, exponent = f"{far:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


class Verification(RecognitionProtocol):
    """Dodging and impersonation rates at fixed thresholds.

    Args:
        fars: false accept rates, each in (0, 1).
        thresholds: ``calibrated`` on the impostor faces of the data set, or ``legacy``: the constants on the target's
            card, which only say 0.1, 0.01 and 0.001 and are a gap where the card has none. For comparison with papers
            that used them; they rarely have the rate they are named after. ``both`` measures impersonation at the
            legacy ones, too, under names that say so.

    Raises:
        SettingError: a rate outside (0, 1), two of one name, or none; another kind of threshold.
    """

    name = "verification"
    title = "Verification"
    frame_names = ("thresholds",)
    report_module = "cloakbench.bench.protocols.verification.report"

    def __init__(
        self, fars: Iterable[float] = FARS, thresholds: Literal["calibrated", "legacy", "both"] = "calibrated"
    ) -> None:
        given = list(fars)
        sound = bool(given) and all(is_number(far) and 0 < far < 1 for far in given)
        if not sound or len({far_label(far) for far in given}) < len(given):
            raise SettingError("fars", given, "a list of rates above 0 and below 1, each once")
        self.fars = tuple(sorted(map(float, given), reverse=True))
        self.thresholds = one_of("thresholds", thresholds, (*_NO_THRESHOLD, "both"))
        self.gaps_without = frozenset({"impostor"} if thresholds != "legacy" else ())

    def _metrics(self) -> Iterator[tuple[str, str, str]]:
        """Name, kind and rate label of every metric in order."""
        for kind in _DENOMINATORS:
            for far in self.fars:
                label = f"far_{far_label(far)}"
                yield f"{kind.split('_')[0]}_{label}" + "_given_clean" * kind.endswith("given_clean"), kind, label
        for far in self.fars if self.thresholds == "both" else ():
            label = f"legacy_far_{far_label(far)}"
            yield f"impersonation_{label}", "impersonation", label

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Every rate, in the order of `measurements`."""
        return tuple(
            Metric(
                name=name,
                title=f"{_TITLES[kind]} at {label.replace('_', ' ').upper()}",
                denominator=_DENOMINATORS[kind],
            )
            for name, kind, label in self._metrics()
        )

    @property
    def rank_by(self) -> tuple[str, ...]:
        """The rates at the smallest false accept rate."""
        return tuple(name for name, _, label in self._metrics() if label == f"far_{far_label(self.fars[-1])}")

    def read(self, answers: Answers, cell: int) -> Responses:
        table = self._thresholds(answers)
        return replace(
            super().read(answers, cell),
            thresholds=dict(zip(table["far"], table["threshold"], strict=True)),
            legacy_thresholds=dict(zip(table["far"], table["legacy"], strict=True)),
        )

    def frames(self, answers: Answers) -> Mapping[str, pd.DataFrame]:
        """The thresholds of a target, and which of them this protocol takes (``used``)."""
        used = "calibrated and legacy" if self.thresholds == "both" else self.thresholds
        return {"thresholds": self._thresholds(answers).assign(used=used)}

    def _thresholds(self, answers: Answers) -> pd.DataFrame:
        """Cosine thresholds of a target, made once and shared with ``cloakbench calibrate``."""
        fars = tuple(sorted(self.fars))
        legacy = answers.judge.options["legacy_thresholds"]
        if "impostor" not in answers.job.clean:  # calibrated thresholds become gaps with a reason
            nobody, no_one = answers.clean("probe")["embeddings"][:0], torch.empty(0, dtype=torch.long)
            gaps = calibrate(nobody, no_one, fars=fars, resamples=answers.resamples, seed=answers.seed)
            return add_legacy(gaps, nobody, no_one, legacy)
        calibration = Calibration(
            model=answers.worker.spec.fingerprints[answers.judge.name],
            pixels=answers.job.clean["impostor"][0].pixels,
            people=answers.worker.faces("impostor").identity,
            fars=fars,
            legacy=None if legacy is None else tuple(legacy),
            resamples=answers.resamples,
            seed=answers.seed,
            batch=answers.worker.spec.embed_batch,
        )
        store = answers.worker.store
        return stored_thresholds(store, calibration, lambda: answers.clean("impostor")["embeddings"])

    def records(self, responses: Responses) -> pd.DataFrame:
        """One row per probe.

        Columns: image_id, identity, status, note, own_similarity, best_mate_similarity, target_similarity, pairs and,
        for each rate, dodged_far_*, pairs_clean_far_* (pairs accepted with the clean photo), dodged_given_clean_far_*,
        impersonated_far_* (0 or 1). Null where a photo failed, where the threshold is a gap, and, for impersonation,
        without a target. ``target_failed`` marks, as a bool, a target photo that has no embedding.

        Raises:
            ValueError: a false accept rate has no entry in ``responses.thresholds`` (``legacy_thresholds``).
        """
        thresholds = responses.legacy_thresholds if self.thresholds == "legacy" else responses.thresholds
        legacy = responses.legacy_thresholds if self.thresholds == "both" else thresholds
        missing = [far for far in self.fars if far not in thresholds or far not in legacy]
        if missing:
            raise ValueError(f"no threshold for false accept rates {missing}; calibrate with the same rates")
        status = responses.row_status()
        usable = torch.from_numpy(status == OK)
        mates = Mates.of(responses.identity, answered(responses.clean))
        similarity = mates.cosines(responses.protected, responses.clean)
        clean_similarity = mates.cosines(responses.clean, responses.clean)
        target, aimed = self._target(responses, usable)

        best_mate = similarity.nan_to_num(nan=-torch.inf).amax(dim=1)
        records = pd.DataFrame({"image_id": list(responses.image_id), "identity": responses.identity.numpy()})
        records = records.assign(status=status, note="")
        records["own_similarity"] = known(cosine(responses.protected, responses.clean).double().numpy(), usable)
        records["best_mate_similarity"] = known(best_mate.double().numpy(), usable & mates.valid.any(dim=1))
        records["target_similarity"] = known(target.double().numpy(), aimed)
        records["target_failed"] = (usable & ~aimed).numpy() & (responses.target_embeddings is not None)
        records["pairs"] = nullable(count_rows(mates.valid), usable)
        for far in self.fars:
            threshold, label = thresholds[far], f"far_{far_label(far)}"
            is_set = torch.tensor(not math.isnan(threshold))
            # Written as "not accepted", so that the rule and its complement cannot drift apart.
            dodged = mates.valid & ~(similarity > threshold)
            verified = mates.valid & (clean_similarity > threshold)
            records[f"dodged_{label}"] = nullable(count_rows(dodged), usable & is_set)
            records[f"pairs_clean_{label}"] = nullable(count_rows(verified), usable & is_set)
            records[f"dodged_given_clean_{label}"] = nullable(count_rows(dodged & verified), usable & is_set)
            records[f"impersonated_{label}"] = nullable(count_rows((target > threshold)[:, None]), aimed & is_set)
            if self.thresholds == "both":
                known_as = torch.tensor(not math.isnan(legacy[far]))
                taken_for = count_rows((target > legacy[far])[:, None])
                records[f"impersonated_legacy_{label}"] = nullable(taken_for, aimed & known_as)
        return records

    @staticmethod
    def _target(responses: Responses, usable: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine of each protected photo with its target's photo ``[N]``, and which of them count."""
        if responses.target_embeddings is None:
            return torch.full((len(usable),), torch.nan), torch.zeros_like(usable)
        return cosine(responses.protected, responses.target_embeddings), usable & answered(responses.target_embeddings)

    def trials(self, records: pd.DataFrame) -> dict[str, Trials]:
        def column(name: str) -> NDArray[np.float64]:
            return records[name].to_numpy(dtype=np.float64, na_value=np.nan)

        ok = records["status"].to_numpy(dtype=object) == OK
        target_failed = records["target_failed"].to_numpy(dtype=bool)
        aimed_anywhere = bool(target_failed.any() or records["target_similarity"].notna().any())
        trials: dict[str, Trials] = {}
        for metric, kind, label in self._metrics():
            gap, gap_status = "", UNAVAILABLE
            events = column(f"{_EVENTS[kind]}_{label}")
            of_card = self.thresholds == "legacy" or label.startswith("legacy_")
            tried = column(f"impersonated_{label}" if label.startswith("legacy_") else f"dodged_{label}")
            if ok.any() and np.isnan(tried).all():
                gap = _NO_THRESHOLD["legacy" if of_card else "calibrated"]
            if kind == "impersonation":
                total = (~np.isnan(events)).astype(np.float64)
                if ok.any() and not aimed_anywhere:
                    gap, gap_status = "no one to be taken for was assigned", SKIPPED
                failed = ~ok | target_failed
            else:
                total = column(f"pairs_clean_{label}" if kind == "dodging_given_clean" else "pairs")
                failed = ~ok
            empty = "no clean pair is accepted" if kind == "dodging_given_clean" else "no person has two usable photos"
            total = np.where(np.isnan(events), 0.0, total)
            trials[metric] = Trials(np.nan_to_num(events), total, gap, gap_status, failed, empty)
        return trials

    def sections(self, index: Measured) -> Iterable[Section]:
        from cloakbench.bench.protocols.verification.report import verification_section

        return [verification_section(index, [far_label(far) for far in self.fars], self.title)]

    def headline(self, index: Measured) -> Headline | None:
        from cloakbench.bench.protocols.verification.report import verification_headline

        return verification_headline(index, [far_label(far) for far in self.fars])


_DENOMINATORS = {
    "dodging": "ordered pairs (protected photo, clean photo of the same person)",
    "dodging_given_clean": "ordered pairs (protected photo, clean photo of the same person) that the clean photo wins",
    "impersonation": "protected photos with an assigned target person",
}

_TITLES = {"dodging": "Dodging", "dodging_given_clean": "Dodging, known clean", "impersonation": "Impersonation"}

_EVENTS = {"dodging": "dodged", "dodging_given_clean": "dodged_given_clean", "impersonation": "impersonated"}
