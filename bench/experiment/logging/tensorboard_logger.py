"""`TensorboardLogger`: follows a run in TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.experiment.logging.logged_numbers import figures_of, summary_numbers


class TensorboardLogger:
    """Units of work as curves, numbers and figures of the report at the end, in ``tensorboard/`` of the run folder.

    Raises:
        ConfigError: the package is missing.
    """

    def __init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise ConfigError("logger=tensorboard needs the package tensorboard: pip install 'cloakbench[tensorboard]'")

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        units = folder / "units.csv"
        self._units = sum(1 for _ in units.open(encoding="utf-8")) - 1 if units.is_file() else 0
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def unit(self, values: Mapping[str, Any]) -> None:
        self._units += 1
        for name in ("seconds", "photos", "failed"):
            self._writer.add_scalar(f"unit/{name}", float(values[name]), self._units)

    def finish(self, measurements: pd.DataFrame) -> None:
        for name, value in summary_numbers(measurements).items():
            self._writer.add_scalar(name, value)
        for path in figures_of(self._folder):
            with Image.open(path) as picture:
                self._writer.add_image(path.stem, np.asarray(picture.convert("RGB")), dataformats="HWC")
        self._writer.close()
