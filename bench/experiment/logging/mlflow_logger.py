"""`MlflowLogger`: follows a run in MLflow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.experiment.logging.logged_numbers import figures_of, plain_settings, report_files, summary_numbers

_LONGEST = 500
"""Letters of a parameter's value that every MLflow takes."""
_FOLDER_TAG = "cloakbench.run"
_ALLOWED = "MLFLOW_ALLOW_FILE_STORE"


@contextmanager
def _files_are_meant() -> Iterator[None]:
    """What MLflow wants to hear when it opens a store of files; whoever uses it beside finds the variable as it was."""
    before = os.environ.get(_ALLOWED)
    os.environ.setdefault(_ALLOWED, "true")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_ALLOWED, None)


class MlflowLogger:
    """Settings as parameters, units of work as metrics, the report as artefacts. A run that is started again goes on in
    the MLflow run of its folder.

    Args:
        experiment: name of the MLflow experiment.
        tracking_uri: a server, or null for files in the run folder, which need none.
        group: optional, a tag: the name of a sweep.

    Raises:
        ConfigError: the package is missing.
    """

    def __init__(self, experiment: str, tracking_uri: str | None, group: str | None) -> None:
        if find_spec("mlflow") is None:
            raise ConfigError("logger=mlflow needs the package mlflow-skinny: pip install 'cloakbench[mlflow]'")
        if not experiment.strip():
            raise SettingError("experiment", experiment, "a name")
        self.experiment, self.tracking_uri, self.group = experiment, tracking_uri, group

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        from mlflow import MlflowClient

        self._folder, self._units = folder, 0
        if self.tracking_uri is None:  # files of a run that nobody serves
            with _files_are_meant():
                self._client = MlflowClient((folder.absolute() / "mlruns").as_uri())
        else:
            self._client = MlflowClient(self.tracking_uri)
        known = self._client.get_experiment_by_name(self.experiment)
        place = known.experiment_id if known else self._client.create_experiment(self.experiment)
        begun = self._client.search_runs([place], f"tags.`{_FOLDER_TAG}` = '{folder.name}'", max_results=1)
        tags = {_FOLDER_TAG: folder.name, **({"group": self.group} if self.group else {})}
        run = begun[0] if begun else self._client.create_run(place, run_name=folder.name, tags=tags)
        self._run = run.info.run_id
        self._units = int(run.data.metrics.get("units", 0))
        self._client.update_run(self._run, status="RUNNING")
        if not begun:
            for name, value in plain_settings(config).items():
                self._client.log_param(self._run, name, value[:_LONGEST])

    def unit(self, values: Mapping[str, Any]) -> None:
        self._units += 1
        for name in ("seconds", "photos", "failed"):
            self._client.log_metric(self._run, f"unit/{name}", float(values[name]), step=self._units)
        self._client.log_metric(self._run, "units", self._units, step=self._units)

    def finish(self, measurements: pd.DataFrame) -> None:
        for name, value in summary_numbers(measurements).items():
            self._client.log_metric(self._run, name.replace(",", " ").replace("=", " "), value)
        for path in report_files(self._folder):
            self._client.log_artifact(self._run, str(path), "tables" if path.suffix == ".csv" else None)
        for path in figures_of(self._folder):
            self._client.log_artifact(self._run, str(path), "figures")
        self._client.set_terminated(self._run)
