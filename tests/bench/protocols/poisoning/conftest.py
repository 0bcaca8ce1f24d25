"""One finished run of the tiny poisoning experiment, for all that only look at it."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import DictConfig
from tiny_poisoning import CONFIG_DIR, compose

from cloakbench.bench.experiment.run import Outcome, run


@pytest.fixture(scope="session")
def finished(tiny_poisoning_results: Path, faces_cache: Path) -> tuple[Outcome, DictConfig]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(CONFIG_DIR.parent))
        config = compose(tiny_poisoning_results, faces_cache)
        return run(config), config
