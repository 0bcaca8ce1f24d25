"""The table of a human study: mean, deviation, interval over raters and agreement, for all and for each group."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from cloakbench.bench.report.table import Column, Number, Row, Table
from cloakbench.bench.statistics.agreement import krippendorff_alpha
from cloakbench.bench.statistics.intervals import mean_intervals
from cloakbench.bench.survey.page import QUESTIONS
from cloakbench.bench.survey.study import Study

_TITLES = ("Information sufficiency", "Visual naturalness")
_EVERYBODY = "All raters"


def study_table(study: Study, ratings: pd.DataFrame, resamples: int, seed: int) -> Table:
    """Table III of Yang et al., TIFS 2025; a method that nobody rated is a gap.

    Args:
        study: what was rated.
        ratings: see `cloakbench.bench.survey.answers.RATINGS`.
        resamples, seed: of the bootstrap over raters.
    """
    groups = sorted({str(name) for name in ratings["group"]} - {""})
    parts = [(_EVERYBODY if groups else "", ratings)]
    parts += [(name, ratings.loc[ratings["group"] == name]) for name in groups]
    columns = [
        Column(f"{name}_{short}", label, title, interval="always" if short == "mean" else "none")
        for name, title in zip(QUESTIONS, _TITLES, strict=True)
        for short, label in (("mean", "mean"), ("sd", "SD"))
    ]
    rows = [row for title, part in parts for row in _rows(study, title, part, resamples, seed)]
    return Table(
        name="human_study",
        title="Human study",
        caption="What people said of protected photos beside the originals, from 1 to 10; more is better.",
        stub="Method",
        columns=(*columns, Column("raters", "raters"), Column("ratings", "ratings")),
        rows=tuple(rows),
        footnotes=(
            "Mean over all ratings, with its 95 % interval from drawing raters with replacement; SD over all ratings.",
            *(_agreement(title or _EVERYBODY, part) for title, part in parts),
        ),
        section_key="group",
    )


def _rows(study: Study, section: str, ratings: pd.DataFrame, resamples: int, seed: int) -> Iterator[Row]:
    for label, code in study.codes.items():
        own = ratings.loc[(ratings["code"] == code) & ratings[list(QUESTIONS)].notna().any(axis=1)]
        values, raters = own[list(QUESTIONS)].to_numpy(dtype=np.float64), own["rater"].astype(str).tolist()
        cells: list[Number | str] = []
        if len(own):
            for place, interval in enumerate(mean_intervals(values, raters, resamples, seed)):
                known = values[~np.isnan(values[:, place]), place]
                deviation = float(known.std(ddof=1)) if len(known) > 1 else float("nan")
                cells += [Number(interval.value, interval.low, interval.high), Number(deviation)]
        else:
            cells = [Number()] * (2 * len(QUESTIONS))
        yield Row(label, (*cells, str(len(set(raters))), str(int((~np.isnan(values)).sum()))), section)


def _agreement(title: str, ratings: pd.DataFrame) -> str:
    """A sentence with the alpha of both questions."""
    if ratings.empty:
        return f"{title}: nobody has answered."
    said = []
    for name, question in zip(QUESTIONS, _TITLES, strict=True):
        table = ratings.pivot_table(index="rater", columns=["set", "code"], values=name, dropna=False)
        alpha = krippendorff_alpha(table.to_numpy(dtype=np.float64))
        said.append(f"{question.lower()} {alpha:.3f}" if np.isfinite(alpha) else f"{question.lower()} none")
    return f"{title}: agreement (Krippendorff's alpha, interval scale) on {' and on '.join(said)}."
