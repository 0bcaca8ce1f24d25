"""Training stages of methods in the store: each is run once, by one process, and shared by all that come to its key."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from cloakbench.bench.config.node_keys import node_settings
from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.engine.checkpoints import ProgressLines, StoredCheckpoint
from cloakbench.bench.store.store import Store
from cloakbench.methods.base import Protector, Stage, Trained
from cloakbench.methods.context import Cost, Need, ProtectContext

log = logging.getLogger(__name__)

_KIND = "trained"


def train_stages(
    store: Store, protector: Protector, context: ProtectContext, unit: Mapping[str, Any], label: str
) -> Trained | None:
    """What the stages of a method trained, stored or made now, each on what came before it.

    Args:
        store: where they are kept.
        protector: the method.
        context: networks, faces and seed.
        unit: inputs of the unit of work that asks, see `stage_inputs`.
        label: what the log calls the cell.

    Returns:
        Tensors by stage, and what all of them took whenever they were made; None while another process makes one.
    """
    tensors: dict[str, Mapping[str, Tensor]] = {}
    costs: list[Cost] = []
    earlier: list[str] = []
    for stage in protector.stages():
        inputs = stage_inputs(stage, unit, earlier)
        earlier.append(content_key(_KIND, inputs))
        trained = _train_stage(store, protector, stage, replace(context, trained=tensors), inputs, label)
        if trained is None:
            return None
        tensors |= trained.tensors
        costs.append(trained.cost)
    return Trained(tensors, Cost.total(costs))


def stage_inputs(stage: Stage, unit: Mapping[str, Any], earlier: Sequence[str]) -> dict[str, Any]:
    """What decides what a stage trains, of the inputs of a unit; the people of the unit, and the settings that the
    stage does not have, cannot.

    Args:
        stage: of the unit's method.
        unit: inputs of the unit: ``surrogates``, ``auxiliary``, ``seed``, ``precision`` where it has one, and others.
        earlier: keys of the stages before it.
    """
    return {
        "stage": [stage.name, type(stage).__qualname__],
        "settings": node_settings(stage.settings),
        "code": code_digest("cloakbench.methods.base", type(stage).__module__),
        "surrogates": unit["surrogates"] if stage.needs & {Need.SURROGATES, Need.ATTRIBUTE_SURROGATES} else [],
        "auxiliary": unit["auxiliary"] if Need.AUXILIARY in stage.needs else "",
        "seed": unit["seed"],
        "earlier": list(earlier),
        **({"precision": unit["precision"]} if "precision" in unit else {}),
    }


def _train_stage(
    store: Store, protector: Protector, stage: Stage, context: ProtectContext, inputs: dict[str, Any], label: str
) -> Trained | None:
    key = content_key(_KIND, inputs)
    # A letter in front: the lock of the unit, which this process holds, may share three digits with the key.
    with store.claim(f"L{key}") as mine:
        stored = store.read_tensors(_KIND, key)
        if stored is not None:
            return Trained({stage.name: stored[0]}, Cost(**stored[1]))
        if not mine:
            return None
        log.info("training %s: %s", label, stage.name)
        checkpoint = StoredCheckpoint(store, key, inputs)
        progress = ProgressLines(f"{label}: {stage.name}")
        trained = protector.run_stage(stage, replace(context, checkpoint=checkpoint, progress=progress))
        store.write_tensors(_KIND, key, trained.tensors[stage.name], inputs, vars(trained.cost))
        checkpoint.remove()
        return trained
