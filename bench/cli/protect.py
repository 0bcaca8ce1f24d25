"""``cloakbench protect``: protect a person's own photos, from file to file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

from cloakbench.bench.config.compose import compose_config, split_config_dirs

log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """``cloakbench protect input=PHOTOS output=FOLDER method=NAME``; status 1 when a photo has no protected copy."""
    config_dirs, overrides = split_config_dirs(words)

    import torch

    from cloakbench.bench.protect.defaults.at_hand import with_defaults
    from cloakbench.bench.protect.run import run_protect
    from cloakbench.bench.protect.settings import read_settings

    torch.set_num_threads(1)  # sums in another order round differently: copies must not depend on the machine
    begun = time.monotonic()
    config = compose_config(with_defaults(overrides), config_name="protect", config_dirs=config_dirs)
    outcome = run_protect(read_settings(config))
    made = outcome.protected - outcome.reused
    log.info(
        "%d photos protected in %.1f s, %d copies were finished before", made, time.monotonic() - begun, outcome.reused
    )
    for line in outcome.verdicts:
        log.info("%s", line)
    for warning in outcome.warnings:
        log.warning("warning: %s", warning)
    for problem in outcome.problems:
        sys.stderr.write(f"error: {problem}\n")
    log.info("Report written: %s", outcome.report)
    return 1 if outcome.problems else 0
