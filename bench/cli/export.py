"""``cloakbench export``: the original photos of an experiment, for systems that cannot run here."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import compose_config, split_config_dirs
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.escape import terminal
from cloakbench.bench.experiment.parts import build_dataset
from cloakbench.bench.protect.export import export

log = logging.getLogger(__name__)

_LINES_MOST = 10


def main(words: Sequence[str]) -> int:
    """``cloakbench export experiment=NAME output=FOLDER``; status 1 when a photo is missing from the folder."""
    config_dirs, overrides = split_config_dirs(words)
    config = compose_config(overrides, config_name="export", config_dirs=config_dirs)
    if config.get("output") in (None, "???") or "output" not in config:
        raise ConfigError("set output=FOLDER, where the photos go")
    check_values(config)
    torch.set_num_threads(1)
    output = Path(str(config.output)).expanduser()
    root = config.dataset.get("root")
    if root is not None and output.resolve().is_relative_to(Path(str(root)).expanduser().resolve()):
        raise ConfigError(
            f"output {output} lies in the data set's own folder {root}, where it would be taken for photos: choose "
            "another output=FOLDER"
        )
    outcome = export(build_dataset(config), output, config.name, config.seed, overwrite=config.overwrite)
    log.info("%d crops and %d photos in %s, explained by manifest.json", outcome.crops, outcome.photos, output)
    log.info(
        "Protect the crops, keep their names, and measure them: cloakbench %s method=precomputed method.folder=FOLDER",
        shlex.join(word for word in words if not word.startswith(("output=", "overwrite="))),
    )
    for problem in outcome.problems[:_LINES_MOST]:
        sys.stderr.write(f"error: {terminal(problem)}\n")
    if len(outcome.problems) > _LINES_MOST:
        sys.stderr.write(f"error: and {len(outcome.problems) - _LINES_MOST} more photos; see the column status\n")
    return 1 if outcome.problems else 0
