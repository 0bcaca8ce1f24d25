"""`Results`, all that a report is made from: tidy frames of what was measured, what was decided, and who took part."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from torch import Tensor

from cloakbench.bench.report.decisions.columns import DECIDED, SIGHTING_COLUMNS
from cloakbench.bench.report.groups.columns import LABEL_COLUMNS
from cloakbench.bench.report.metric import Metric

_Read = TypeVar("_Read")

MEASUREMENT_COLUMNS = {
    "protocol": "who asked: a label of ``Results.protocols``",
    "metric": "e.g. psr_p1_top1, psr_p2_top5_given_clean, dodging_far_1e-2, ssim",
    "method": "method key of the experiment, e.g. pgd, opom_convex_hull, identity",
    "variant": "settings that make a variant of it, e.g. decay=0.5, steps=2; empty for the method as composed",
    "epsilon_255": "budget in grey levels; NaN for methods without one",
    "surrogate": "surrogate key; empty for methods that use none",
    "judge": "who was asked: the key of a target, or of a protocol's own judge; empty where nobody was",
    "condition": "under what: a label of ``Results.conditions``; 'none' for photos as they were published",
    "value": "rate in [0, 1] or the metric in its own unit; NaN when it could not be had (see status, note)",
    "low": "lower end of the 95 % interval",
    "high": "upper end of the 95 % interval",
    "n": "trials in the denominator",
    "n_failed": "planned photos that failed and are not in n",
    "n_identities": "identities in the denominator, the resampling unit of the interval",
    "white_box": "the judge is the surrogate",
    "same_family": "another model than the surrogate, of its architecture family",
    "status": "ok | method_failed | target_failed | skipped | unavailable",
    "note": "why the value is missing, or a warning",
}
"""The columns of ``Results.measurements`` and what they hold."""

PROTOCOL_COLUMNS = {
    "label": "as in the ``protocol`` column of the measurements",
    "name": "of the protocol; another one than the label where it asks about photos of somebody else's publication",
    "title": "heads its section",
    "publication": "which photos it is about; empty for the probes",
    "config": "its resolved settings, JSON; secrets are left out",
}
"""The columns of ``Results.protocols`` and what they hold."""

CONDITION_COLUMNS = {
    "protocol": "label of the protocol",
    "label": "as in the ``condition`` column of the measurements",
    "title": "as a table prints it",
    "family": "what kind it is; empty for photos as they were published",
    "strength": "its place on the axis of its family; NaN for a kind without one",
    "axis": "what the strength means",
    "order": "up, down or two_sided: which end of the axis is strong",
}
"""The columns of ``Results.conditions`` and what they hold."""

METRIC_COLUMNS = {
    "protocol": "label of the protocol",
    "name": "as in the ``metric`` column of the measurements",
    "title": "as a table heads it",
    "denominator": "what it is a share of, or what its mean is taken over",
    "kind": "rate or mean",
    "unit": "of a mean",
    "decimals": "printed",
    "higher_protects": "whether more of it is better for the person protected; null where it says nothing about that",
}
"""The columns of ``Results.metrics`` and what they hold: a `cloakbench.bench.report.metric.Metric` each."""


class PhotoRecords(Mapping[str, pd.DataFrame]):
    """Per-photo records by label of the protocol, each read when it is asked for and kept by nobody.

    Args:
        names: labels that there are.
        read: label to its frame: the records' own columns, and method, epsilon_255, surrogate, judge, condition.
    """

    def __init__(self, names: Iterable[str] = (), read: Callable[[str], pd.DataFrame] = pd.DataFrame) -> None:
        self._names, self._read = tuple(names), read

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _empty(columns: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(columns=list(columns))


RECOVERED = "recovered"
"""Name of the picture of an example that its owner got back."""


@dataclass(frozen=True)
class Example:
    """One face of the image grid: the original and what methods made of it, uint8 ``[3, H, W]``."""

    image_id: str
    original: Tensor
    protected: Mapping[str, Tensor]
    """Label (method and budget) to protected photo."""
    shown: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Label to pictures by name of how the mask was made, where the method gives them, and of what comes back."""
    publication: str = ""
    """Which the photo is of; empty for the probes."""


@dataclass(frozen=True, repr=False)
class Results:
    """Everything a report needs, read from the store.

    Attributes:
        name: name of the experiment.
        dataset: name and version of the data set.
        manifest_sha256: digest of the manifest every number comes from.
        measurements: tidy frame with `MEASUREMENT_COLUMNS`.
        models: one row a model: its card (`cloakbench.models.base.ModelCard`), and roles (surrogate, target).
        costs: one row per method, variant, epsilon_255, surrogate and publication (empty for the probes): scope,
            images, seconds_per_image, forward_per_image, backward_per_image, fit_seconds_per_person and
            apply_seconds_per_image (of the seconds, those before any photo is touched, and the others; where the scope
            is a person), region_seconds_per_image and perturbation_seconds_per_image (where the method times these
            apart), recovery_seconds_per_image (where photos come back; of the first chunk of people),
            training_seconds, training_passes (of what is trained once for all photos), view_seconds, view_passes (of
            views of the cell's people, made once for all cells), peak_memory_mib (what protecting added to the process,
            or of the device; NaN where it was not measured), status, note (why a method raised, or gave no photo back),
            converged (whether a search met its stop error: yes, no or nothing), bits_read, bits_read_low,
            bits_read_high and bits_written (of a method that writes bits into photos: the share that is read back, its
            interval, and how many were written; NaN for others), norm and size_255 (of the ball that
            photos lie in: linf or l2 and grey levels; nothing where there is none), linf_255 and l2_255 (what was used
            of either norm in 8 bits, mean over photos). Times are the only numbers that differ between equal runs.
        methods: one row per method and variant: key, variant, varied (what sets the variants of the method apart, also
            in the row of the method as composed; empty where it has none), title (how it is printed), name, scope,
            goal, needs, targeted, trained, person_specific, hardware, paper, official_settings and deviations (of its
            class: what the paper set, and where the class departs from that), notes (how the configuration departs from
            what its name promises).
        thresholds: one row per judge and false accept rate (far): threshold, low, high, n_pairs, n_identities, status,
            note, legacy, legacy_far, legacy_far_low, legacy_far_high, used (calibrated or legacy).
        examples: faces for figures, those of the probes first.
        setup: what to print under a table: identities, probes per identity, distractors, seed, resamples.
        protocols: who asked, in the order of the experiment, with `PROTOCOL_COLUMNS`.
        conditions: under what, in the order of the experiment, with `CONDITION_COLUMNS`.
        records: per-photo records by label of the protocol; none where a kept run has left them out.
        means: means over judges with their joint intervals, ``DECIDED['means']``.
        rankings: methods best first with tie groups, ``DECIDED['rankings']``.
        pairs: paired comparisons within rankings, ``DECIDED['pairs']``.
        identical: methods that do what another one does, ``DECIDED['identical']``.
        differences: from the method that ``report.compare_with`` names, ``DECIDED['differences']``.
        worst: the least mean of each method over all attacks, ``DECIDED['worst']``.
        groups, gaps: numbers of groups of people and photos, and the largest gaps between them, ``DECIDED``.
        labels: which group each probe is in, `LABEL_COLUMNS`; none where no groups are told apart.
        metrics: what protocols measure, in the order of their tables, with `METRIC_COLUMNS`.
        sightings: who still knows the people of ``examples``, `SIGHTING_COLUMNS`.
        problems: a line for each distinct failure of the run that just gave them; not kept.
        folder: where that run wrote its report, or None.
    """

    name: str
    dataset: str
    manifest_sha256: str
    measurements: pd.DataFrame
    models: pd.DataFrame
    costs: pd.DataFrame
    methods: pd.DataFrame
    thresholds: pd.DataFrame
    examples: tuple[Example, ...] = ()
    setup: Mapping[str, Any] = field(default_factory=dict)
    protocols: pd.DataFrame = field(default_factory=lambda: _empty(PROTOCOL_COLUMNS))
    conditions: pd.DataFrame = field(default_factory=lambda: _empty(CONDITION_COLUMNS))
    records: Mapping[str, pd.DataFrame] = field(default_factory=PhotoRecords)
    means: pd.DataFrame = field(default_factory=lambda: _empty(DECIDED["means"]))
    rankings: pd.DataFrame = field(default_factory=lambda: _empty(DECIDED["rankings"]))
    pairs: pd.DataFrame = field(default_factory=lambda: _empty(DECIDED["pairs"]))
    identical: pd.DataFrame = field(default_factory=lambda: _empty(DECIDED["identical"]))
    differences: pd.DataFrame = field(default_factory=lambda: _empty(DECIDED["differences"]))
    worst: pd.DataFrame = field(default_factory=lambda: _empty(DECIDED["worst"]))
    groups: pd.DataFrame = field(default_factory=lambda: _empty(DECIDED["groups"]))
    gaps: pd.DataFrame = field(default_factory=lambda: _empty(DECIDED["gaps"]))
    labels: pd.DataFrame = field(default_factory=lambda: _empty(LABEL_COLUMNS))
    metrics: pd.DataFrame = field(default_factory=lambda: _empty(METRIC_COLUMNS))
    sightings: pd.DataFrame = field(default_factory=lambda: _empty(SIGHTING_COLUMNS))
    problems: tuple[str, ...] = ()
    folder: Path | None = None
    _read: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, key: Hashable, read: Callable[[], _Read]) -> _Read:
        """What ``read`` gives: called once for each key, as frames are not changed and many tables ask for the same."""
        if key not in self._read:
            self._read[key] = read()
        return self._read[key]

    def report(self, folder: str | Path) -> Path:
        """Write report, tables (CSV, LaTeX) and figures into a folder, and return the path of ``report.md``.

        Raises:
            StoreError: the folder cannot be written; one line saying why.
        """
        from cloakbench.bench.report.writer import write_report

        this: Any = self
        return write_report(this, Path(folder)).report

    def __repr__(self) -> str:
        problems = f", {len(self.problems)} problems (see .problems)" if self.problems else ""
        columns = ("method", "judge", "protocol")
        methods, judges, protocols = (self._labels(column) for column in columns)
        return (
            f"Results of {self.name} on {self.dataset}: {len(self.measurements)} measurements{problems}\n"
            f"  methods: {methods}\n  judges: {judges}\n  protocols: {protocols}"
        )

    def _labels(self, column: str) -> str:
        """The labels in a column of the measurements that are not empty, in order of appearance."""
        return ", ".join(label for label in dict.fromkeys(self.measurements[column].astype(str)) if label)

    @property
    def first_examples(self) -> tuple[Example, ...]:
        """Faces of the probes, or else of the first publication that shows some."""
        return tuple(one for one in self.examples if one.publication == self.examples[0].publication)

    def declared(self, protocol: str) -> tuple[Metric, ...]:
        """The metrics of a protocol in the order of tables; none of a run that was kept without them."""
        own = self.metrics.loc[self.metrics["protocol"] == protocol].drop(columns="protocol")
        lines = own.to_dict("records")  # frames that were joined spell a gap in their own way
        known = [None if pd.isna(line["higher_protects"]) else bool(line["higher_protects"]) for line in lines]
        return tuple(Metric(**{**line, "higher_protects": one}) for line, one in zip(lines, known, strict=True))
