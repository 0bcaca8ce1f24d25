"""Who is asked, as far as a plan must know it: whether somebody asks about the probes."""

from __future__ import annotations

from hydra.utils import instantiate
from omegaconf import DictConfig

from cloakbench.bench.config.compose import missing_settings, resolved


def asks_about_probes(config: DictConfig) -> bool:
    """Whether a protocol asks about the probes, so that the experiment's own methods protect them; not while settings
    of protocols are missing. Protocols say it themselves (`cloakbench.bench.engine.protocol.Protocol`), since some ask
    the targets of the experiment, and others have judges of their own."""
    if missing_settings(config.protocols):
        return False
    built = (instantiate(resolved(block)) for block in config.protocols.values())
    return any(one.is_about_probes and one.is_asked(config) for one in built)
