"""``cloakbench recover``: photos that were protected with a key, as they were."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import compose_config, missing_settings, resolved, split_config_dirs
from cloakbench.bench.core.errors import ConfigError

log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """``cloakbench recover input=PROTECTED output=FOLDER keys=FOLDER``; status 1 when a photo does not come back."""
    config_dirs, overrides = split_config_dirs(words)
    config = compose_config(overrides, config_name="recover", config_dirs=config_dirs)
    if missing := missing_settings(config):
        raise ConfigError(f"set {', '.join(f'{key}=...' for key in missing)}")
    check_values(config)

    import torch

    from cloakbench.bench.core.machine import checked_device
    from cloakbench.bench.plan.plan import make_protector
    from cloakbench.bench.protect.recover import RecoverSettings, run_recover
    from cloakbench.methods.base import Protector, without_title

    def method_config(name: str) -> Mapping[str, Any]:
        return without_title(resolved(compose_config([f"method={name}"], "protect", config_dirs).method))

    def build(settings: Mapping[str, Any], name: str) -> Protector:
        return make_protector(settings, name, "method")

    torch.set_num_threads(1)  # as protecting does
    outcome = run_recover(
        RecoverSettings(
            source=Path(config.input).expanduser(),
            output=Path(config.output).expanduser(),
            keys=Path(config["keys"]).expanduser(),
            originals=Path(config.originals).expanduser() if config.originals else None,
            method_config=method_config,
            build=build,
            overwrite=config.overwrite,
            force=config.force,
            max_megapixels=config.max_megapixels,
            device=checked_device(config.device, "device"),
        )
    )
    log.info("%d photos came back", outcome.recovered)
    for warning in outcome.warnings:
        log.warning("warning: %s", warning)
    for problem in outcome.problems:
        sys.stderr.write(f"error: {problem}\n")
    log.info("Report written: %s", outcome.report)
    return 1 if outcome.problems else 0
