"""`DetectionProtocol`: whether somebody who knows the method can tell a protected photo from a clean one.

Whoever can, may leave protected photos out of a collection, or clean them first (LightShed, USENIX Security 2025). A
detector learns from photos of the people of the other folds, as they were and as the method published them. Its
threshold comes from strangers, whom it neither learnt from nor judges; the share of clean photos of the judged people
above it is printed beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor

from cloakbench.bench.config.build import build
from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import Inputs, tensor_digest
from cloakbench.bench.core.ranges import SettingError, is_number, whole
from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.answers import Answers, UnansweredError
from cloakbench.bench.engine.learning.folds import fold_of, folds_of, refuse_shared_photos
from cloakbench.bench.engine.learning.training import stored_training
from cloakbench.bench.engine.means import Values, mean_measurements
from cloakbench.bench.engine.protocol import Answer, Judge, Protocol
from cloakbench.bench.engine.rates import Trials, rate_measurements
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import CellPhotos
from cloakbench.bench.protocols.detection.detector import ProtectionDetector
from cloakbench.bench.report.metric import Metric
from cloakbench.datasets.base import Role

if TYPE_CHECKING:
    from cloakbench.bench.report.index import Measured
    from cloakbench.bench.report.section import Section

DETECTED, FALSE_ALARMS, AUC = "detected", "false_alarms", "detection_auc"
_PROTECTED, _CLEAN, _STRANGERS = "protected", "clean", "strangers"


class DetectionProtocol(Protocol):
    """Small classifiers, one for each method at each budget and fold of people.

    Args:
        detectors: key to config of a `ProtectionDetector`.
        folds: of the people who publish; each is judged by a detector that learnt from the others.
        false_positive_rate: share of strangers' clean photos that may be called protected, above 0 and below 1.

    Raises:
        SettingError: a value out of its range, or no detector.
    """

    name = "detection"
    title = "Detection"
    kind = "detections"
    whole_cells = True
    answer_modules = ("cloakbench.bench.protocols.detection.protocol",)
    report_module = "cloakbench.bench.protocols.detection.report"
    needs: frozenset[Role] = frozenset({"distractor"})

    def __init__(
        self, detectors: Mapping[str, Mapping[str, Any]], folds: int = 2, false_positive_rate: float = 0.01
    ) -> None:
        if not detectors:
            raise SettingError("detectors", detectors, "at least one")
        if not (is_number(false_positive_rate) and 0 < false_positive_rate < 1):
            raise SettingError("false_positive_rate", false_positive_rate, "a number above 0 and below 1")
        self._configs, self.folds = dict(detectors), whole("folds", folds, 2)
        self.false_positive_rate = float(false_positive_rate)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is detected, what is taken for protected, and the area under the curve of both."""
        percent = f"{100 * self.false_positive_rate:g} %"
        protected, clean = "protected photos", "clean photos of the same people"
        return (
            Metric(DETECTED, f"Detected at FPR {percent}", protected, higher_protects=False),
            Metric(FALSE_ALARMS, "False alarms", clean, higher_protects=None),
            Metric(AUC, "AUC", f"{protected}, each against all {clean} in its fold", "mean", "", 3, False),
        )

    @property
    def rank_by(self) -> tuple[str, ...]:
        return (DETECTED,)

    def check(self, config: DictConfig, place: str) -> None:
        for key, one in self._configs.items():
            where = f"{place}detectors.{key}"
            if not isinstance(made := build(one, where), ProtectionDetector):
                raise ConfigError(f"{where}: {one['_target_']} built a {type(made).__name__}, not a ProtectionDetector")

    def try_on(self, planning: Planning) -> None:
        """Look whether a detector would learn from photos that it judges.

        Raises:
            ConfigError: one photo shows people of two folds, or a detector would learn from fewer than two people.
        """
        faces = planning.faces["probe"]
        people = faces.identities()
        if len(people) - -(-len(people) // self.folds) < 2:
            raise ConfigError(
                f"protocols.detection learns from fewer than two of {len(people)} people: raise dataset.identities"
            )
        refuse_shared_photos(faces, fold_of(people, self.folds))

    def judges(self, planning: Planning) -> Sequence[Judge]:
        return [
            Judge(key, {"detector": node_settings(config), "code": node_code(config)}, sees_clean=False)
            for key, config in self._configs.items()
        ]

    def inputs(self, judge: Judge, condition: Condition, photos: CellPhotos, spec: WorkerSpec) -> Inputs:
        return {
            **judge.inputs,
            "folds": self.folds,
            "published": [[one.pixels, list(one.rows)] for one in photos.chunks],
            "faces": [spec.faces[spec.publications[photos.publication].photos], spec.faces["distractor"]],
            "seed": spec.seed,
        }

    def respond(self, judge: Judge, condition: Condition, photos: CellPhotos, worker: Worker) -> Answer:
        """Scores of a cell's photos and of their originals in the order of its rows, and of strangers by fold."""
        whole = worker.faces(worker.spec.publications[photos.publication].photos)
        faces, fold = whole.select(photos.rows), fold_of(whole.identities(), self.folds)
        detector: ProtectionDetector = worker.made(self._configs[judge.name])
        published, place = torch.empty_like(faces.images), {row: number for number, row in enumerate(photos.rows)}
        for chunk in photos.chunks:
            published[[place[row] for row in chunk.rows]] = worker.photos(chunk)
        scores = {name: torch.empty(len(faces)) for name in (_PROTECTED, _CLEAN)}
        strangers = []
        for part in folds_of(faces.identity, fold):
            taught, judged = list(part.taught), list(part.judged)
            pairs = published[taught], faces.images[taught]
            name = f"{worker.spec.seed}-{part.number}"
            weights = stored_training(
                worker.store,
                {**judge.inputs, "photos": [tensor_digest(one) for one in pairs], "name": name},
                lambda reached, keep, pairs=pairs, name=name: detector.learn(
                    *pairs, name, worker.device, reached, keep
                ),
            )
            scores[_PROTECTED][judged] = detector.scores(weights, published[judged], worker.device)
            scores[_CLEAN][judged] = detector.scores(weights, faces.images[judged], worker.device)
            strangers.append(detector.scores(weights, worker.faces("distractor").images, worker.device))
        return Answer({**scores, _STRANGERS: torch.stack(strangers)})

    def read(self, answers: Answers, cell: int) -> dict[str, Any]:
        """The columns of `records`."""
        faces, photos = answers.faces, answers.cells[cell]
        status, note = answers.status(cell), [""] * len(faces)
        values = {name: np.full(len(faces), np.nan) for name in ("score", DETECTED, FALSE_ALARMS, AUC)}
        [(_, said)] = answers.draws(cell)
        if isinstance(said, UnansweredError):
            for row in photos.rows:
                status[row], note[row] = said.status, said.reason
        else:
            own = [faces.identity[row] for row in photos.rows]
            parts = folds_of(own, fold_of(faces.identities(), self.folds))
            for part, strangers in zip(parts, said.tensors[_STRANGERS], strict=True):
                judged = list(part.judged)
                found = detected(
                    said.tensors[_PROTECTED][judged],
                    said.tensors[_CLEAN][judged],
                    strangers,
                    self.false_positive_rate,
                )
                for name, column in found.items():
                    values[name][[photos.rows[row] for row in judged]] = column
        return {
            "image_id": list(faces.image_id),
            "identity": list(faces.identity),
            "status": status,
            "note": note,
            **values,
        }

    def records(self, responses: Mapping[str, Any]) -> pd.DataFrame:
        """One row per photo: its score, whether it was detected and its original taken for protected, and the share of
        clean photos of its fold with a lower score."""
        return pd.DataFrame({**responses})

    def measurements(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        rates = {name: one for name, one in self.trials(records).items() if name != AUC}
        area = {AUC: Values(records[AUC].to_numpy(dtype=np.float64), "", "not defined")}
        found = [
            rate_measurements(records, rates, resamples, seed),
            mean_measurements(records, area, resamples, seed, items="photos"),
        ]
        return pd.concat(found, ignore_index=True)

    def trials(self, records: pd.DataFrame) -> Mapping[str, Trials]:
        ok = (records["status"] == OK).to_numpy()
        known = ~np.isnan(records[DETECTED].to_numpy(dtype=np.float64))
        gap = _too_few(self.false_positive_rate) if bool(ok.any()) and not bool(known.any()) else ""
        found = {}
        for name in (DETECTED, FALSE_ALARMS, AUC):
            values = records[name].to_numpy(dtype=np.float64)
            counted = (ok & ~np.isnan(values)).astype(np.float64)
            found[name] = Trials(np.nan_to_num(values), counted, gap * (name != AUC))
        return found

    def sections(self, index: Measured) -> Iterable[Section]:
        from cloakbench.bench.protocols.detection.report import detection_section

        return [detection_section(index, self.title)]

    def checks(self, index: Measured) -> Iterable[str]:
        from cloakbench.bench.protocols.detection.report import detection_checks

        return detection_checks(index, self.false_positive_rate)


def detected(protected: Tensor, clean: Tensor, strangers: Tensor, false_positive_rate: float) -> dict[str, np.ndarray]:
    """What the scores of one detector say.

    Args:
        protected, clean: scores of photos of the same people, ``[N]`` each.
        strangers: scores of other people's clean photos, ``[S]``.
        false_positive_rate: share of strangers above the threshold, at most.

    Returns:
        For each photo, ``[N]``: its score; 1 where it is above the threshold, and where its original is; the share of
        clean photos with a lower score, equal ones counting half. Without a threshold, for want of strangers, NaN.
    """
    allowed = int(false_positive_rate * len(strangers))
    given, original, others = (scores.double().numpy() for scores in (protected, clean, strangers))
    below = (given[:, None] > original[None]).mean(axis=1) + 0.5 * (given[:, None] == original[None]).mean(axis=1)
    found = {"score": given, AUC: below}
    if not allowed:
        return found
    threshold = np.sort(others)[-allowed - 1]
    return found | {DETECTED: (given > threshold).astype(float), FALSE_ALARMS: (original > threshold).astype(float)}


def _too_few(false_positive_rate: float) -> str:
    return (
        f"a false positive rate of {100 * false_positive_rate:g} % needs {int(np.ceil(1 / false_positive_rate))} "
        "distractors to set a threshold"
    )
