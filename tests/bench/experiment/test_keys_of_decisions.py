"""Keys of what is made from scores: what stands in a kept frame, or says that it is a gap, is in its key."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from cloakbench.bench.experiment import decided as decided_module
from cloakbench.bench.experiment.added_scores import added_score_jobs
from cloakbench.bench.report.results import MEASUREMENT_COLUMNS

ROW = dict.fromkeys(MEASUREMENT_COLUMNS, "") | {"method": "pgd", "variant": "steps=2", "judge": "ir50"}


@pytest.mark.parametrize("column", ["variant", "judge", "condition"])
def test_decisions_are_made_again_when_a_row_or_judge_has_another_name(
    column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []

    class AskedError(Exception):
        pass

    def read_frame(kind: str, key: str) -> None:
        keys.append(key)
        raise AskedError

    experiment: Any = SimpleNamespace(store=SimpleNamespace(read_frame=read_frame))
    monkeypatch.setattr(decided_module, "code_digest", lambda *modules: "code")
    for row in (ROW, ROW | {column: "another"}):
        results: Any = SimpleNamespace(
            measurements=pd.DataFrame([row]),
            metrics=pd.DataFrame(),
            protocols=pd.DataFrame(),
            labels=pd.DataFrame(),
            setup={},
        )
        with pytest.raises(AskedError):
            decided_module.decided(experiment, results, ["score"])
    assert len(set(keys)) == 2


def test_an_added_metric_is_measured_once_what_it_lacked_is_there() -> None:
    settings = {"_target_": "cloakbench.bench.engine.added_metric.ColumnMean", "protocol": "p", "column": "c"}
    score: Any = SimpleNamespace(protocol="p", key="score")
    keys = set()
    for missing in ("weights are not here", ""):
        experiment: Any = SimpleNamespace(
            metrics={"m": SimpleNamespace(protocol="p", missing=missing)},
            spec=SimpleNamespace(metrics={"m": settings}),
            protocol=lambda key: SimpleNamespace(name=key),
        )
        keys |= {job.key for job in added_score_jobs(experiment, [score])}
    assert len(keys) == 2
