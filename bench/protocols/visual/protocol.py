"""`Visual`: methods that hide faces from people's eyes and leave them to machines, and whose owners get photos back.

Three sorts of judges are asked about one publication: the targets of the experiment, whether the person is still found
(:mod:`cloakbench.bench.protocols.visual.matching`); image metrics, how far a published photo is from its original; and
the same metrics of photos that were recovered from the stored 8-bit photo and the stored key
(:mod:`cloakbench.bench.protocols.visual.recovery`).

A veil is made from the reference photos of a person. They may be published, too, beside or instead of the probes, which
no veil has seen; their numbers have names of their own and stand in tables of their own (person-specific veils print
the former in its figures and the latter in its appendix).
Attackers without a key are a fourth sort of judges (:mod:`cloakbench.bench.protocols.visual.onlookers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig
from torch import Tensor

from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.core.ranges import SettingError, is_whole
from cloakbench.bench.core.status import NOT_PLANNED
from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.engine.estimates import Timer
from cloakbench.bench.engine.means import Values, mean_measurements
from cloakbench.bench.engine.protocol import Answer, Judge, Protocol
from cloakbench.bench.engine.rates import MEASUREMENT_FIELDS, Trials, rate_measurements
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.chunks import build_chunks
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.plan import Cell, build_cells
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import ChunkPhotos, Publication
from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.protocols.quality.protocol import Quality
from cloakbench.bench.protocols.visual.estimate import visual_photos, visual_seconds
from cloakbench.bench.protocols.visual.faces import add_faces, first_photos, roles_of
from cloakbench.bench.protocols.visual.matching import matching_records, matching_trials
from cloakbench.bench.protocols.visual.metrics import (
    HIDDEN,
    RECOVERED,
    hidden_metric,
    of_role,
    over,
    rates,
    recovered_metric,
    value_name,
)
from cloakbench.bench.protocols.visual.onlookers.block import Onlookers
from cloakbench.bench.protocols.visual.onlookers.found import SEEN, found_trials
from cloakbench.bench.protocols.visual.recovery import VIEW, Recovery, gives_back
from cloakbench.bench.protocols.visual.values import value_records
from cloakbench.bench.report.metric import Metric
from cloakbench.datasets.base import ROLES, Role

if TYPE_CHECKING:
    from cloakbench.bench.report.index import Measured
    from cloakbench.bench.report.section import Headline, Section

_PART = "part"
_MATCHED = "matched"
_NO_KEY = "with no key in the store"


class Visual(Protocol):
    """Hiding from eyes, matching by machines, recovery by owners.

    Args:
        methods: key to config of a method.
        photos: role of the photos that are protected and published, or both: ``reference``, ``probe``.
        hidden: key to config of an image metric of published photos; null for one that is left out.
        recovered: the same of recovered photos.
        recovered_views: label to config of a transform that recovered photos are looked at through, beside as they are.
        identities: people who publish, at most; None for everybody.
        references: photos per person that a veil is made from, at most; None for all. Others of role ``reference`` are
            not published.
        epsilons_255: budgets of all methods in grey levels; None for each method's own.
        surrogates: labels of the experiment's surrogates for methods that need one; None for all.
        attackers: key to config of somebody who looks at published photos without a key; null for one that is left out.

    Raises:
        SettingError: a role that is neither, or one twice, or none; a number of people or of references below 1.
    """

    name = "visual"
    title = "Hiding from eyes"
    kind = "visual"
    report_module = "cloakbench.bench.protocols.visual.report"

    def __init__(
        self,
        methods: Mapping[str, Any],
        photos: Role | Sequence[Role] = ("reference", "probe"),
        hidden: Mapping[str, Any] | None = None,
        recovered: Mapping[str, Any] | None = None,
        recovered_views: Mapping[str, Mapping[str, Any]] | None = None,
        identities: int | None = None,
        references: int | None = None,
        epsilons_255: Sequence[float] | None = None,
        surrogates: Sequence[str] | None = None,
        attackers: Mapping[str, Mapping[str, Any] | None] | None = None,
    ) -> None:
        roles = [photos] if isinstance(photos, str) else list(photos)
        if not roles or len(set(roles)) < len(roles) or not set(roles) <= {"reference", "probe"}:
            raise SettingError("photos", photos, "reference, probe, or [reference, probe]")
        for setting, count in {"identities": identities, "references": references}.items():
            if count is not None and not (is_whole(count) and count >= 1):
                raise SettingError(setting, count, "a whole number of at least 1, or null")
        self.roles: tuple[Role, ...] = tuple(role for role in ROLES if role in roles)
        self.identities, self.references = identities, references
        self._search = Identification([1], enrolled=True)
        self._hidden, self._recovery = Quality(hidden or {}), Recovery(recovered or {}, recovered_views or {})
        self._own: dict[str, Protocol] = {_MATCHED: self._search, HIDDEN: self._hidden, RECOVERED: self._recovery}
        self._onlookers = Onlookers(attackers or {}, self.roles, recovered or {})
        self._cells: tuple[Cell, ...] = ()  # those that were checked are those that are planned

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Rates of matching, then means of hiding and of recovery; photos that no veil has seen first."""
        found = list(rates(self._ordered))
        for role in self._ordered:
            found += [hidden_metric(metric, role) for metric in self._hidden.image_metrics.values()]
            for view in self._recovery.views:
                found += [recovered_metric(metric, role, view) for metric in self._recovery.image_metrics.values()]
            found += [over(metric, role) for metric in self._onlookers.metrics()]
        return tuple(found)

    @property
    def rank_by(self) -> tuple[str, ...]:
        """None: a row is as good as what it hides and what is still matched, and these are not one number."""
        return ()

    @property
    def _ordered(self) -> tuple[Role, ...]:
        return tuple(sorted(self.roles, reverse=True, key=lambda role: role == "probe"))

    def check(self, config: DictConfig, place: str) -> None:
        self._hidden.check(config, f"{place}hidden.")
        self._recovery.check(config, f"{place}recovered.")
        self._onlookers.check(config, place)
        self._cells = tuple(build_cells(config, place))

    def publication(self, planning: Planning, place: str) -> Publication:
        name = add_faces(planning, self.roles, self.identities, self.references)
        self._onlookers.add_faces(planning)
        photos, config = planning.faces[name], planning.config
        references, others = planning.faces.get("reference"), planning.faces.get("auxiliary")
        chunks = build_chunks(
            photos,
            references,
            others,
            people=config.plan.chunk_identities,
            seed=config.seed,
            aims=planning.dataset.aims(),
            most_references=self.references,
        )
        cells = self._cells or tuple(build_cells(config, place))
        roles = roles_of(photos, self.roles, references)
        shown = first_photos(photos, roles, self._ordered, config.report.examples)
        found = planning.publish(self.name, name, "reference", cells, lambda _: chunks, image_metrics=(), shown=shown)
        return replace(found, pictures=partial(self._onlookers.pictures, planning=planning, faces=photos))

    def judges(self, planning: Planning) -> Sequence[Judge]:
        found = []
        for part, protocol in self._parts.items():
            for judge in protocol.judges(planning):
                sees, options = isinstance(protocol, Identification), {**judge.options, _PART: part}
                sees_clean = sees and not judge.whole_cells
                found.append(replace(judge, options=options, kind=protocol.kind, sees_clean=sees_clean))
        return found

    def conditions(self, judge: Judge, planning: Planning) -> Sequence[Condition]:
        return self._part(judge).conditions(judge, planning)

    def clean_roles(self, planning: Planning) -> Sequence[Any]:
        if not planning.config.targets:
            return ()
        return self._onlookers.clean_roles(self.name if self.name in planning.faces else self.roles[0])

    def inputs(self, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
        return self._part(judge).inputs(judge, condition, photos, spec)

    def answer_inputs(self, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
        return self._part(judge).answer_inputs(judge, condition, photos, spec)

    def respond(self, judge: Judge, condition: Condition, photos: ChunkPhotos, worker: Worker) -> Answer:
        return self._part(judge).respond(judge, condition, photos, worker)

    def no_answer(self, judge: Judge, photos: int, spec: WorkerSpec) -> dict[str, Tensor]:
        return self._part(judge).no_answer(judge, photos, spec)

    def read(self, answers: Answers, cell: int) -> pd.DataFrame:
        """The rows of `records`."""
        faces, judge = answers.faces, answers.judge
        references = answers.worker.faces("reference") if len(self.roles) > 1 else None
        roles = roles_of(faces, self.roles, references)
        part = judge.options[_PART]
        if part == _MATCHED:
            return matching_records(answers, cell, roles, self._search)
        if part not in self._own:
            return self._onlookers.read(part, answers, cell, roles)
        _, status = answers.protected(cell)
        if part == RECOVERED and not gives_back(answers, cell):
            status = [NOT_PLANNED] * len(status)
        name = value_name(part, self._part(judge).metric_of(judge), judge.options.get(VIEW, ""))
        return value_records(answers, cell, roles, name, status)

    def records(self, responses: pd.DataFrame) -> pd.DataFrame:
        """One row per photo with its role: what identification says of it, or the value of an image metric."""
        return responses

    def measurements(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        found = [pd.DataFrame(columns=list(MEASUREMENT_FIELDS))]
        for role in self._ordered if len(records) else ():
            own = records.loc[records["role"] == role].reset_index(drop=True)
            if len(own):
                measured = self._measured(own, resamples, seed)
                found.append(measured.assign(metric=[of_role(name, role) for name in measured["metric"]]))
        return pd.concat(found[1:] or found, ignore_index=True)

    def _measured(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        """Of the photos of one role and one judge."""
        if "p2_rank" in records:
            return rate_measurements(records, matching_trials(records), resamples, seed)
        if rates := found_trials(records):
            return rate_measurements(records, rates, resamples, seed)
        values = {
            name: Values(records[name].to_numpy(dtype=np.float64), missing, undefined)
            for name, missing, undefined in self._value_names()
            if name in records
        }
        return mean_measurements(records, values, resamples, seed, items="pairs")

    def _value_names(self) -> Iterable[tuple[str, str, str]]:
        """Columns of values, why there can be none, and what NaN means."""
        for metric in self._hidden.image_metrics.values():
            yield value_name(HIDDEN, metric), metric.missing, metric.undefined
        for view in self._recovery.views:
            for metric in self._recovery.image_metrics.values():
                yield value_name(RECOVERED, metric, view), metric.missing, f"{metric.undefined}, or {_NO_KEY}"
        for name, metric in self._onlookers.seen.items():
            yield name, metric.missing, f"{metric.undefined}, or with too few photos held"

    def trials(self, records: pd.DataFrame) -> Mapping[str, Trials]:
        found: dict[str, Trials] = {}
        for role in self._ordered:
            own = (records["role"] == role).to_numpy()
            whole = matching_trials(records) if "p2_rank" in records else {}
            whole |= found_trials(records)
            for name in records.columns[records.columns.str.startswith((f"{HIDDEN}_", f"{RECOVERED}_", f"{SEEN}_"))]:
                values = records[name].to_numpy(dtype=np.float64)
                whole[name] = Trials(np.nan_to_num(values), (~np.isnan(values)).astype(np.float64))
            found |= {of_role(name, role): replace(one, trials=one.trials * own) for name, one in whole.items()}
        return found

    def missing(self, config: DictConfig) -> Iterable[tuple[str, str]]:
        yield from dict.fromkeys([*self._hidden.missing(config), *self._recovery.missing(config)])

    def photos(self, config: DictConfig, place: str) -> int | None:
        return visual_photos(config, self.roles, self.identities, self.references)

    def seconds(self, config: DictConfig, place: str, timer: Timer, *, per_photo: bool = False) -> float | None:
        count = self.photos(config, place)
        return visual_seconds(config, place, count, timer, references=self.references, per_photo=per_photo)

    def setup(self, planning: Planning, publication: Publication) -> dict[str, Any]:
        faces = publication.faces
        found = {"visual_identities": len(faces.identities()), "visual_photos": len(faces)}
        return found if self.references is None else found | {"visual_references": self.references}

    def sections(self, index: Measured) -> Iterable[Section]:
        from cloakbench.bench.protocols.visual.report import visual_sections

        return visual_sections(index, index.results.declared(self.name), self._ordered)

    def checks(self, index: Measured) -> Iterable[str]:
        from cloakbench.bench.protocols.visual.report import visual_checks

        return visual_checks(index, self._ordered)

    def headline(self, index: Measured) -> Headline | None:
        from cloakbench.bench.protocols.visual.report import visual_headline

        return visual_headline(index, self._ordered)

    @property
    def _parts(self) -> Mapping[str, Any]:
        return {**self._own, **self._onlookers.parts}

    def _part(self, judge: Judge) -> Any:
        return self._parts[judge.options[_PART]]
