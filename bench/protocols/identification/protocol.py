"""Closed-set identification: does the gallery still name the person in a protected photo?

Two rules and a third on request, all on cosines of unit embeddings, all with k = 1, 5, 10 by default.

P1, pairwise (OPOM, Zhong and Deng 2022; AdvCloak; FaceCloak's code): every ordered pair (i, j) of different probes of
one person is a trial. Protected photo i searches a gallery of clean photo j and all distractors; the attacker hits
at k if at most k - 1 distractors score strictly above photo j.

P2, gallery (FaceCloak's text): protected photo i searches a gallery of all clean mates and all distractors; the
attacker hits at k if any mate is among the best k, that is, if fewer than k distractors score strictly above the best
mate. One protected photo is one trial, and ``psr_p2 <= psr_p1`` when everybody has the same number of photos. Mates are
the person's other probes, or, as that text says, all other photos of the person, the references among them.

Enrolled (person-specific veils, 4.2.2; what LowKey protects, and what Fawkes' nearest-neighbour tracker searches):
clean photo i searches a gallery of the person's other photos as they were protected, and all distractors; otherwise as
P2. The protected version of photo i itself is no mate: nobody is searched by a photo that is in the gallery.

PSR is the share of trials without a hit. ``given_clean`` restricts the trials to those that the unprotected photo
would have lost, which takes out the errors that the target makes anyway. Ties go to the attacker. With fewer than k
distractors nothing can be missed, so the metric is a gap rather than a zero.

Nothing is sorted: a rank is the number of distractors strictly above a score, counted chunk by chunk, so memory does
not grow with the gallery.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.core.ranges import SettingError, is_whole, one_of
from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.engine.protocol import Answer, Judge
from cloakbench.bench.engine.rates import Trials
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import ADVERSARY, Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.protocols.identification.records import ENROLLED, probe_records
from cloakbench.bench.protocols.recognition.adversaries.block import Adversaries
from cloakbench.bench.protocols.recognition.protocol import EMBEDDINGS, RecognitionProtocol
from cloakbench.bench.protocols.recognition.responses import Responses
from cloakbench.bench.report.metric import Metric
from cloakbench.datasets.base import Role

if TYPE_CHECKING:
    from cloakbench.bench.report.index import Measured
    from cloakbench.bench.report.section import Headline, Section

_TITLES = {"p1": "P1", "p2": "P2", ENROLLED: "enrolled"}
_DENOMINATORS = {
    "p1": "ordered pairs (protected photo, clean photo of the same person)",
    "p2": "protected photos of people with another clean photo in the gallery",
    ENROLLED: "clean photos of people with another protected photo in the gallery",
}
_ADVERSARIES_ON = ("methods", "epsilons_255", "targets")
_REFERENCES_TOO = ", references among them"


class Identification(RecognitionProtocol):
    """P1 and P2 success rates of protection against a gallery search.

    Args:
        ks: depths of the candidate list at which the attacker may find the person.
        mates: whose clean photos P2 has in its gallery: the person's other ``probes``, or ``all`` photos of the person,
            references included, which can only lower PSR. P1 takes pairs of probes in either case.
        enrolled: whether the rule of protected photos in the gallery is measured, too.
        adversaries: key to config of an attacker who prepares for the method, each a further condition; null for one
            that is left out.
        adversaries_on: ``methods``, ``epsilons_255`` and ``targets`` that meet them, each a list, or null for all.
            Controls meet them at these budgets, too.

    Raises:
        SettingError: a depth below 1 or that is no whole number, one twice, or none; other mates.
    """

    answer_modules = ()  # embeddings are those of every protocol; adversaries say in their inputs which code they are
    name = "identification"
    title = "Identification"
    needs: frozenset[Role] = frozenset({"distractor"})
    report_module = "cloakbench.bench.protocols.identification.report"

    def __init__(
        self,
        ks: Iterable[int] = (1, 5, 10),
        mates: Literal["probes", "all"] = "probes",
        *,
        enrolled: bool = False,
        adversaries: Mapping[str, Any] | None = None,
        adversaries_on: Mapping[str, Sequence[Any] | None] | None = None,
    ) -> None:
        given = list(ks)
        if not given or len(set(given)) < len(given) or not all(is_whole(k) and k >= 1 for k in given):
            raise SettingError("ks", given, "a list of whole numbers of at least 1, each once")
        self.ks = tuple(sorted(given))
        self.mates = one_of("mates", mates, ("probes", "all"))
        self.enrolled = enrolled
        on = dict(adversaries_on or {})
        if strange := sorted(set(on) - set(_ADVERSARIES_ON)):
            raise SettingError("adversaries_on", strange[0], f"a mapping with {', '.join(_ADVERSARIES_ON)}")
        self.adversaries = Adversaries(adversaries, **on)
        more = mates == "all" or self.adversaries  # who learns has clean photos of those from whom it learns
        self.needs: frozenset[Role] = frozenset({"distractor", "reference"} if more else {"distractor"})

    def _metrics(self) -> Iterator[tuple[str, str, int, bool]]:
        """Name, rule, depth and whether the clean photo must be hit, for every metric in order."""
        rules = [(rule, known) for rule in ("p1", "p2") for known in (False, True)]
        for rule, given_clean in [*rules, *([(ENROLLED, False)] if self.enrolled else [])]:
            for k in self.ks:
                yield f"psr_{rule}_top{k}" + "_given_clean" * given_clean, rule, k, given_clean

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Every rate, in the order of `measurements`."""
        return tuple(
            Metric(
                name=name,
                title=f"PSR {_TITLES[rule]} Top-{k}" + ", known clean" * given,
                denominator=_DENOMINATORS[rule]
                + _REFERENCES_TOO * (rule == "p2" and self.mates == "all")
                + f" that the clean photo hits at Top-{k}" * given,
            )
            for name, rule, k, given in self._metrics()
        )

    @property
    def rank_by(self) -> tuple[str, ...]:
        """The rates at the smallest depth."""
        return tuple(name for name, _, k, _ in self._metrics() if k == self.ks[0])

    @property
    def worst_of(self) -> tuple[str, ...]:
        """P2 at the smallest depth, and the same of enrolled photos, where that is measured."""
        return tuple(f"psr_{rule}_top{self.ks[0]}" for rule in ("p2", ENROLLED)[: 1 + self.enrolled])

    def clean_roles(self, planning: Planning) -> Sequence[Role]:
        roles = super().clean_roles(planning)
        return [*roles, "reference"] if self.mates == "all" else roles

    def takes_whole_cells(self, judge: Judge, condition: Condition) -> bool:
        return condition.family == ADVERSARY

    def conditions(self, judge: Judge, planning: Planning) -> Sequence[Condition]:
        adverse = self.adversaries.conditions(judge.name, map(str, planning.config.controls))
        return [*super().conditions(judge, planning), *adverse]

    def check(self, config: DictConfig, place: str) -> None:
        self.adversaries.check(config, place)

    def try_on(self, planning: Planning) -> None:
        super().try_on(planning)
        self.adversaries.try_on(planning)

    def inputs(self, judge: Judge, condition: Condition, photos: Any, spec: WorkerSpec) -> Inputs:
        if condition.family == ADVERSARY:
            return self.adversaries.inputs(judge, condition, photos, spec)
        return super().inputs(judge, condition, photos, spec)

    def respond(self, judge: Judge, condition: Condition, photos: Any, worker: Worker) -> Answer:
        if condition.family == ADVERSARY:
            return self.adversaries.respond(judge, condition, photos, worker)
        return super().respond(judge, condition, photos, worker)

    def read(self, answers: Answers, cell: int) -> Sequence[Responses]:
        """What `records` takes: a part for each gallery that the photos are searched in."""
        adverse = answers.job.conditions[0].family == ADVERSARY
        found = self.compared(answers, None, answers.status(cell)) if adverse else super().read(answers, cell)
        if "reference" in answers.job.clean:
            place = {name: number for number, name in enumerate(answers.faces.identities())}
            people = [place.get(name, -1) for name in answers.worker.faces("reference").identity]
            embeddings = answers.clean("reference")[EMBEDDINGS]
            found = replace(found, references=embeddings, reference_identity=torch.tensor(people))
        return self.adversaries.read(answers, cell, found) if adverse else [found]

    def records(self, responses: Responses | Sequence[Responses]) -> pd.DataFrame:
        """One row per probe, see `probe_records`; of several galleries one after the other."""
        parts = [responses] if isinstance(responses, Responses) else responses
        found = [probe_records(part, self.ks, enrolled=self.enrolled) for part in parts]
        return pd.concat(found, ignore_index=True)

    def trials(self, records: pd.DataFrame) -> dict[str, Trials]:
        numbers = {
            name: records[name].to_numpy(dtype=np.float64, na_value=np.nan)
            for name in records.columns
            if name.startswith(("p1_", "p2_", ENROLLED))
        }
        clean_rank = numbers["p2_clean_rank"]
        gallery_size = max(records["gallery_size"].tolist(), default=0)
        trials: dict[str, Trials] = {}
        for metric, rule, k, given_clean in self._metrics():
            if rule == "p1" and given_clean:
                events, total = numbers[f"p1_misses_given_clean_top{k}"], numbers[f"p1_pairs_clean_top{k}"]
            elif rule == "p1":
                events, total = numbers[f"p1_misses_top{k}"], numbers["p1_pairs"]
            else:  # comparisons with NaN are false, so a probe without a rank is no trial
                rank = numbers[f"{rule}_rank"]
                total = (clean_rank < k) if given_clean else (rank >= 0)
                events = total & (rank >= k)
            gap = f"the gallery has {gallery_size} distractors, Top-{k} needs {k}" if gallery_size < k else ""
            empty = "no unprotected photo is recognised" if given_clean else "no person has two usable photos"
            trials[metric] = Trials(_zero_for_null(events), _zero_for_null(total), gap, empty=empty)
        return trials

    def sections(self, index: Measured) -> Iterable[Section]:
        from cloakbench.bench.protocols.identification.report import identification_sections

        return identification_sections(index, self.ks, self.mates)

    def checks(self, index: Measured) -> Iterable[str]:
        from cloakbench.bench.protocols.identification.report import identification_checks

        return identification_checks(index, self.ks)

    def headline(self, index: Measured) -> Headline | None:
        from cloakbench.bench.protocols.identification.report import identification_headline

        return identification_headline(index, self.ks)

    def evidence(self, index: Measured, method: str) -> Mapping[str, str]:
        from cloakbench.bench.protocols.identification.report import identification_evidence

        return identification_evidence(index, self.ks, method)

    def recognised(self, records: pd.DataFrame) -> pd.DataFrame:
        """A photo is known to whom a gallery search (P2) names the person first: no stranger is above the best mate."""
        return pd.DataFrame(
            {
                "recognised": records["p2_rank"] == 0,
                "recognised_clean": records["p2_clean_rank"] == 0,
                "similarity": records["best_mate_similarity"],
                "bar": records["best_distractor_similarity"],
            }
        )


def _zero_for_null(counts: np.ndarray) -> NDArray[np.float64]:
    return np.nan_to_num(counts.astype(np.float64))
