"""`Answered`: what a service said of a cell's photos and of their clean originals, and the records made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cloakbench.bench.core.status import NOT_PLANNED, OK, TARGET_FAILED
from cloakbench.bench.protocols.remote.attribute_columns import attribute_columns
from cloakbench.bench.protocols.remote.spoken import FIELDS, NOT_ASKED, version_names
from cloakbench.models.services import ATTRIBUTES, COMPARE, NO_FACE, SEARCH, STATUSES

Numbers = NDArray[np.float64]
_FOUND, _LOST = float(STATUSES.index(OK)), float(STATUSES.index(NO_FACE))
RECOMMENDED = "recommended"


@dataclass(frozen=True)
class Answered:
    """What one service said.

    Attributes:
        image_id, identity: of the photos.
        status: what became of each before it was asked about.
        protected: tensors of `AnswerSheet` about the published photos, by name.
        clean: the same about the originals.
        versions: names of the vendor's models by operation, ``[N, C]``.
        most: faces that a search gave at most, the photo itself apart.
        labels: what the photos show, by attribute of the task: classes ``[N]``, `UNLABELLED` where nobody said.
        pictures: image metrics of the published photos ``[N]``, by name.
    """

    image_id: Sequence[str]
    identity: Sequence[str]
    status: Sequence[str]
    protected: Mapping[str, Numbers]
    clean: Mapping[str, Numbers]
    versions: Mapping[str, NDArray[np.object_]]
    most: int
    labels: Mapping[str, Numbers] = field(default_factory=dict)
    pictures: Mapping[str, Numbers] = field(default_factory=dict)

    def frame(self, fars: Mapping[str, int], ks: Sequence[int]) -> pd.DataFrame:
        """One row per photo. For each operation: ``*_date`` of the last answer, ``*_calls``, ``*_version``.

        Comparisons: ``score`` of the first pair, and for each threshold ``dodged_*`` of ``tried_*`` pairs, lost faces
        among them, and the same without (``*_found``). Searches: ``rank`` of the first mate (0: none was found) and
        ``escaped_top*``. Attributes: see `attribute_columns`. ``lost`` of ``looked`` answers say that there is no face.

        Args:
            fars: label of a false accept rate to its place behind the fields of a comparison.
            ks: ranks.
        """
        frame = pd.DataFrame({"image_id": list(self.image_id), "identity": list(self.identity)})
        frame = frame.assign(status=self._row_status(), note="")
        lost, looked = np.zeros(len(frame)), np.zeros(len(frame))
        for operation, said in self.protected.items():
            status = said[:, :, 0]
            answers = (status == _FOUND) | (status == _LOST)
            lost += (status == _LOST).sum(axis=1)
            looked += answers.sum(axis=1)
            dates = np.where(answers, said[:, :, 1], -np.inf).max(axis=1)
            frame[f"{operation}_date"] = np.where(np.isfinite(dates), dates, np.nan)
            frame[f"{operation}_calls"] = np.nansum(np.where(status >= 0, said[:, :, 2], 0.0), axis=1)
            names = self.versions[operation]
            frame[f"{operation}_version"] = [", ".join(dict.fromkeys(filter(None, row))) for row in names]
        frame["lost"], frame["looked"] = lost, looked
        if COMPARE in self.protected:
            self._compare(frame, fars)
        if SEARCH in self.protected:
            self._search(frame, ks)
        if ATTRIBUTES in self.protected:
            said, clean = self.protected[ATTRIBUTES][:, 0], self.clean[ATTRIBUTES][:, 0]
            lost_faces = (said[:, 0] == _LOST) & (clean[:, 0] == _FOUND)
            read = said[:, len(FIELDS[ATTRIBUTES]) :], clean[:, len(FIELDS[ATTRIBUTES]) :]
            columns = attribute_columns(self.labels, *read, lost_faces) | dict(self.pictures)
            frame = pd.concat([frame, pd.DataFrame(columns)], axis=1)
        return frame

    def _row_status(self) -> list[str]:
        unanswered = np.zeros(len(self.image_id), dtype=bool)
        asked = np.zeros(len(self.image_id), dtype=bool)
        for said in self.protected.values():
            unanswered |= np.isnan(said[:, :, 0]).any(axis=1)
            asked |= (said[:, :, 0] != NOT_ASKED).any(axis=1)
        rows = zip(self.status, unanswered, asked, strict=True)
        return [
            given if given != OK else TARGET_FAILED if failed else OK if wanted else NOT_PLANNED
            for given, failed, wanted in rows
        ]

    def _compare(self, frame: pd.DataFrame, fars: Mapping[str, int]) -> None:
        fields, said, clean = FIELDS[COMPARE], self.protected[COMPARE], self.clean[COMPARE]
        found = said[:, :, 0] == _FOUND
        lost = (said[:, :, 0] == _LOST) & (clean[:, :, 0] == _FOUND)
        score = said[:, :, fields.index("score")]
        frame["score"] = np.where(found[:, 0], score[:, 0], np.nan)
        places = {RECOMMENDED: fields.index("recommended")}
        places |= {label: len(fields) + place for label, place in fars.items()}
        for label, place in places.items():
            known = found & ~np.isnan(said[:, :, place])
            gone = lost & ~np.isnan(clean[:, :, place])
            dodged = known & (score < said[:, :, place])
            frame[f"threshold_{label}"] = np.where(known[:, 0], said[:, 0, place], np.nan)
            frame[f"dodged_found_{label}"], frame[f"tried_found_{label}"] = dodged.sum(axis=1), known.sum(axis=1)
            frame[f"dodged_{label}"] = (dodged | gone).sum(axis=1)
            frame[f"tried_{label}"] = (known | gone).sum(axis=1)

    def _search(self, frame: pd.DataFrame, ks: Sequence[int]) -> None:
        said, clean = self.protected[SEARCH][:, 0], self.clean[SEARCH][:, 0]
        rank = said[:, FIELDS[SEARCH].index("rank")]
        found = said[:, 0] == _FOUND
        lost = (said[:, 0] == _LOST) & (clean[:, 0] == _FOUND)
        frame["rank"] = np.where(found, rank, np.nan)
        for k in ks:
            known = found & (k <= self.most)
            gone = lost & (k <= self.most)
            escaped = known & ~((rank >= 1) & (rank <= k))
            frame[f"escaped_found_top{k}"], frame[f"tried_found_top{k}"] = escaped.astype(int), known.astype(int)
            frame[f"escaped_top{k}"] = (escaped | gone).astype(int)
            frame[f"tried_top{k}"] = (known | gone).astype(int)


def names_of(tensors: Mapping[str, Numbers], operations: Sequence[str]) -> dict[str, NDArray[np.object_]]:
    """Model versions by operation."""
    return {one: version_names(tensors[f"{one}_version"]) for one in operations}
