"""Face needs of an experiment: a role that its data set does not offer is told before any work, with the way out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from omegaconf import DictConfig

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.engine.protocol import Protocol
from cloakbench.bench.plan.chunks import Chunk
from cloakbench.bench.plan.plan import Cell
from cloakbench.datasets.base import ROLES, Dataset, FaceSet, Role
from cloakbench.methods.context import Need

log = logging.getLogger(__name__)

_EVERY_ROLE = f"roles are {', '.join(ROLES)}"
_WAYS_OUT: Mapping[str, Mapping[str, str]] = {
    "probe": {
        "probes_per_identity": "dataset.probes_per_identity=N takes N photos of each person",
        "identities": "dataset.identities=N",
        "test_share": "dataset.test_share=null",
    },
    "reference": {"references_per_identity": "dataset.references_per_identity=N gives N photos of each person"},
    "distractor": {
        "max_identities": "dataset.max_identities=N leaves the people after the first N as distractors",
        "distractor_root": "dataset.distractor_root=FOLDER brings other people",
        "distractors": "dataset.distractors=N",
    },
    "auxiliary": {
        "auxiliary_identities": "dataset.auxiliary_identities=N",
        "auxiliary_root": "dataset.auxiliary_root=FOLDER brings other people",
    },
    "impostor": {
        "impostor_identities": "dataset.impostor_identities=N",
        "impostor_root": "dataset.impostor_root=FOLDER brings other people",
    },
    "landmarks": {
        "aligned": "dataset.aligned=false has them detected",
        "landmarks_file": "dataset.landmarks_file=FILE with dataset.aligned=false has them read",
    },
}
"""Role, or what else a method may need, to settings of data sets that bring it."""
_ROLE_OF: Mapping[Need, Role] = {
    Need.REFERENCES: "reference",
    Need.AUXILIARY: "auxiliary",
    Need.AIM: "auxiliary",
    Need.GENERATOR: "reference",
    Need.REFERENCE_LANDMARKS: "reference",
}
"""Need of a method to the role that meets it."""


def check_roles(config: DictConfig, dataset: Dataset, protocols: Iterable[Protocol], cells: Sequence[Cell]) -> None:
    """Refuse an experiment whose data set lacks faces that a protocol or a method needs.

    Raises:
        ConfigError: it does; the message names who needs them and the settings that bring them.
    """
    roles = dataset.roles()
    if "probe" not in roles:
        raise ConfigError(
            f"data set {dataset.name} has no probe faces, so there is nobody to protect{_out(config, 'probe')}"
        )
    for protocol in protocols:
        if unknown := sorted((protocol.needs | protocol.gaps_without) - set(ROLES)):
            raise ConfigError(f"protocol {protocol.name} needs {unknown[0]} faces, which is no role: {_EVERY_ROLE}")
        for role in sorted(protocol.needs - set(roles)):
            raise ConfigError(
                f"data set {dataset.name} has no {role} faces, which {protocol.name} needs"
                f"{_out(config, role, people=len(dataset.faces('probe').identities()))}"
                f"; or leave it out: '~protocols.{protocol.name}'"
            )
        for role in sorted(protocol.gaps_without - set(roles)):
            log.warning(
                "data set %s has no %s faces, without which rates of %s are gaps%s",
                dataset.name,
                role,
                protocol.name,
                _out(config, role),
            )
    for method, needs in _needs(cells).items():
        for need in sorted(needs & _ROLE_OF.keys()):
            if _ROLE_OF[need] not in roles:
                raise _lacking(config, dataset, method, need, _ROLE_OF[need])


def check_given_faces(
    config: DictConfig, dataset: Dataset, faces: Mapping[str, FaceSet], cells: Sequence[Cell], chunks: Sequence[Chunk]
) -> None:
    """Refuse what only the faces themselves show: no points, nobody to aim at, a photo in two roles.

    Raises:
        ConfigError: so it is; one line.
    """
    if "probe" not in faces or not cells:
        return
    shared = set(faces["probe"].image_id) & set(faces["reference"].image_id) if "reference" in faces else set()
    if shared:
        raise ConfigError(f"{min(shared)} is both reference and probe; a mask must never see its probes")
    for method, needs in _needs(cells).items():
        if Need.LANDMARKS in needs and faces["probe"].landmarks is None:
            raise _lacking(config, dataset, method, Need.LANDMARKS, "landmarks")
        if Need.REFERENCE_LANDMARKS in needs and faces["reference"].landmarks is None:
            raise _lacking(config, dataset, method, Need.REFERENCE_LANDMARKS, "landmarks")
        if Need.AIM in needs and not any(chunk.aims for chunk in chunks):
            raise ConfigError(
                f"{method} needs somebody to aim at: an auxiliary person with two photos, one to aim at and one to "
                f"measure, whom data set {dataset.name} does not have{_out(config, 'auxiliary')}"
            )


def _needs(cells: Sequence[Cell]) -> dict[str, frozenset[Need]]:
    """What each method and each variant needs, by the name of its rows."""
    return {cell.row: cell.protector.needs for cell in cells}


def _lacking(config: DictConfig, dataset: Dataset, method: str, need: Need, lacks: str) -> ConfigError:
    """What to say where a data set lacks the faces, or what stands beside them, that meet a need."""
    word = "a reference for its generator" if need is Need.GENERATOR else need
    return ConfigError(f"{method} needs {word}, which data set {dataset.name} does not offer{_out(config, lacks)}")


def _out(config: DictConfig, role: str, people: int = 2) -> str:
    """The settings that this data set has and that bring a role; one person cannot be divided."""
    known = {name: words for name, words in _WAYS_OUT.get(role, {}).items() if name in config.dataset}
    if people < 2:
        known.pop("max_identities", None)
    return f": {', or '.join(known.values())}" if known else ""
