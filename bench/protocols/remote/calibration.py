"""`ImpostorCalibration`: asks a service about impostor pairs, once, and keeps the thresholds that come of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import Inputs, content_key
from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.protocol import Judge
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.protocols.remote.impostor_thresholds import Impostors, publishes_rates, thresholds_of
from cloakbench.bench.protocols.remote.questions import Questions
from cloakbench.bench.protocols.remote.session import Session
from cloakbench.bench.services.asking import side_by_side
from cloakbench.bench.services.preparing import PictureRule
from cloakbench.models.pictures import Picture
from cloakbench.models.services import COMPARE, RESULTS, ServiceCard, ServiceError

KIND = "remote_calibrations"
"""Where the store keeps the thresholds of a service."""


@dataclass(frozen=True)
class ImpostorCalibration:
    """How services without published false accept rates are calibrated.

    Attributes:
        pairs: impostor pairs at most.
        rule: how pictures are made.
        fars: false accept rates.
    """

    pairs: int
    rule: PictureRule
    fars: tuple[float, ...]

    def impostors(self, planning: Planning, card: ServiceCard) -> Impostors | None:
        """The pairs that a service is to be asked about; None for one whose thresholds have a rate already.

        Raises:
            ConfigError: there are no impostors.
        """
        if COMPARE not in card.operations or publishes_rates(card):
            return None
        faces = planning.faces.get("impostor")
        found = None if faces is None else Impostors.of(faces, self.pairs)
        if not found:
            raise ConfigError(
                f"service {card.name}: remote.calibrate needs photos of impostors, and data set "
                f"{planning.dataset.name} has none; remote.calibrate=false measures at the recommended threshold"
            )
        return found

    def inputs(self, planning: Planning, card: ServiceCard) -> Inputs | None:
        """What decides the thresholds beside the judge; None where there is nothing to calibrate."""
        impostors = self.impostors(planning, card)
        if impostors is None:
            return None
        return {
            "pairs": impostors.inputs,
            "rule": vars(self.rule),
            "fars": list(self.fars),
            "resamples": planning.config.statistics.resamples,
            "seed": planning.config.seed,
        }

    def stored(self, planning: Planning, judge: Judge) -> pd.DataFrame | None:
        """The thresholds of a service, where they were made."""
        return None if judge.options["calibration"] is None else planning.store.read_frame(KIND, _key(judge))

    def pairs_due(self, planning: Planning, judge: Judge, card: ServiceCard) -> int:
        """Impostor pairs that a service is still to be asked about."""
        if judge.options["calibration"] is None or self.stored(planning, judge) is not None:
            return 0
        return len(self.impostors(planning, card) or ())

    def made(
        self, planning: Planning, judge: Judge, session: Session, questions: Questions, connections: int
    ) -> pd.DataFrame | str | None:
        """The thresholds, asked for where they are not stored; why there are none; None where none are wanted."""
        if (known := self.stored(planning, judge)) is not None or judge.options["calibration"] is None:
            return known
        impostors = self.impostors(planning, session.service.card)
        assert impostors is not None, "a judge with a calibration has impostors"
        scores = _scores(session, questions, impostors, connections)
        if isinstance(scores, str):
            return scores
        config = planning.config
        table = thresholds_of(scores, impostors.people(), self.fars, config.statistics.resamples, config.seed)
        planning.store.write_frame(KIND, _key(judge), table)
        return table


def _key(judge: Judge) -> str:
    code = code_digest("cloakbench.bench.protocols.remote.impostor_thresholds")
    return content_key(KIND, {"judge": dict(judge.inputs), "calibration": judge.options["calibration"], "code": code})


def _scores(
    session: Session, questions: Questions, impostors: Impostors, connections: int
) -> NDArray[np.float64] | str:
    """Scores of pairs, NaN where a photo has no face for the service; or why there are none."""

    @lru_cache(maxsize=256)
    def picture(row: int) -> Picture:
        return questions.clean_picture(impostors.faces, row)

    pairs = ((picture(one), picture(other)) for one, other in impostors.pairs)
    found = []
    try:
        for _, answer in side_by_side(lambda pair: session.asker.compare(*pair), pairs, connections):
            if answer.status not in RESULTS:
                note = answer.note or "no reason is given"
                return f"service {session.service.card.name}: impostor pairs: {answer.status}: {note}"
            found.append(answer.score if answer.status == OK and answer.score is not None else np.nan)
    except ServiceError as problem:  # a limit, or a certificate
        return str(problem)
    return np.array(found, dtype=np.float64)
