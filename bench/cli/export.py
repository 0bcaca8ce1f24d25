"""``cloakbench export``: the original photos of an experiment, for systems that cannot run here."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from cloakbench.bench.config.compose import compose_config, split_config_dirs
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.engine.parts import build_dataset
from cloakbench.bench.protect.export import export

log = logging.getLogger(__name__)

_LINES_MOST = 10


def main(words: Sequence[str]) -> int:
    """``cloakbench export experiment=NAME output=FOLDER``; status 1 when a photo is missing from the folder."""
    config_dirs, overrides = split_config_dirs(words)
    config = compose_config(overrides, config_name="export", config_dirs=config_dirs)
    if config.get("output") in (None, "???") or "output" not in config:
        raise ConfigError("set output=FOLDER, where the photos go")
    torch.set_num_threads(1)
    output = Path(str(config.output)).expanduser()
    outcome = export(build_dataset(config), output, config.name, config.seed, overwrite=bool(config.overwrite))
    log.info("%d crops and %d photos in %s, explained by manifest.json", outcome.crops, outcome.photos, output)
    log.info(
        "Protect the crops, keep their names, and measure them: cloakbench %s method=precomputed method.folder=FOLDER",
        " ".join(word for word in overrides if not word.startswith(("output=", "overwrite="))),
    )
    for problem in outcome.problems[:_LINES_MOST]:
        sys.stderr.write(f"error: {problem}\n")
    if len(outcome.problems) > _LINES_MOST:
        sys.stderr.write(f"error: and {len(outcome.problems) - _LINES_MOST} more photos; see the column status\n")
    return 1 if outcome.problems else 0
