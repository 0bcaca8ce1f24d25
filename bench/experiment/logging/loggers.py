"""Run loggers: progress recorded beside the store, in a CSV file or at Weights & Biases."""

from __future__ import annotations

import csv
import hashlib
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import pandas as pd

from cloakbench.bench.core.escape import csv as csv_text
from cloakbench.bench.core.ranges import SettingError, one_of
from cloakbench.bench.experiment.logging.logged_numbers import figures_of, report_files, summary_numbers

WandbMode = Literal["offline", "online", "disabled"]


class RunLogger(Protocol):
    """Something that follows a run."""

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Called once, before any work, with the run folder and the resolved config."""

    def unit(self, values: Mapping[str, Any]) -> None:
        """Called for every finished unit of work: method, variant, epsilon_255, surrogate; chunk; seconds, photos,
        failed."""

    def finish(self, measurements: pd.DataFrame) -> None:
        """Called once, when the report is written, with the tidy frame of measurements."""


class CsvLogger:
    """Appends a line per unit to ``units.csv`` in the run folder."""

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        self._path = folder / "units.csv"
        self._begun = time.time()

    def unit(self, values: Mapping[str, Any]) -> None:
        row = {"elapsed_seconds": round(time.time() - self._begun, 3), **values}
        new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(row))
            if new:
                writer.writeheader()
            writer.writerow({name: csv_text(value) if isinstance(value, str) else value for name, value in row.items()})

    def finish(self, measurements: pd.DataFrame) -> None:
        """Nothing: the report writes the tables."""


class WandbLogger:
    """Follows a run in Weights & Biases: units of work as they end, then a few numbers as its summary, all
    measurements as a table, the figures, and the report as an artefact. A run that is started again goes on as the
    same one.

    Args:
        project: project name.
        mode: ``offline`` (default of the config; files stay in the run folder), ``online`` or ``disabled``.
        group: optional group, e.g. the name of a sweep.

    Raises:
        ValueError: the package is missing, or a setting is wrong.
    """

    def __init__(self, project: str, mode: WandbMode, group: str | None) -> None:
        if find_spec("wandb") is None:
            raise ValueError("package wandb is missing: pip install wandb, or take logger=csv")
        if not project.strip():
            raise SettingError("project", project, "a name")
        self.project, self.group = project, group
        self.mode: WandbMode = one_of("mode", mode, get_args(WandbMode))

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        import wandb

        self._folder = folder
        self._run = wandb.init(
            project=self.project,
            mode=self.mode,
            group=self.group,
            id=hashlib.sha256(folder.name.encode()).hexdigest()[:16],
            resume="allow" if self.mode == "online" else None,
            dir=str(folder),
            name=folder.name,
            config=dict(config),
            settings=wandb.Settings(console="off", silent=True),
        )

    def unit(self, values: Mapping[str, Any]) -> None:
        self._run.log({f"unit/{name}": value for name, value in values.items()})

    def finish(self, measurements: pd.DataFrame) -> None:
        import wandb

        self._run.log({"measurements": wandb.Table(dataframe=measurements)})
        self._run.log({f"figures/{path.stem}": wandb.Image(str(path)) for path in figures_of(self._folder)})
        self._run.summary.update(summary_numbers(measurements))
        report = wandb.Artifact(f"report-{self._run.id}", "report")
        for path in report_files(self._folder):
            report.add_file(str(path), name=path.relative_to(self._folder).as_posix())
        self._run.log_artifact(report)
        self._run.finish()
