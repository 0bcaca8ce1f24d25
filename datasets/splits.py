"""Which photo of a folder plays which role.

The split is a function of names and options alone. People are drawn by a hash of seed and name, so a person who is
added or removed moves nobody else, and a smaller selection is part of a larger one with the same seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cloakbench.datasets.base import Role
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.randomness import stream_seed

PROBES_NEEDED = 2
"""A probe is attacked with the person's other probes in the gallery, so there must be another."""


@dataclass(frozen=True)
class SplitRule:
    """How people and photos become roles.

    People with at least ``references_per_identity + 2`` photos can be subjects. Of a subject's photos in name order the
    first ``references_per_identity`` are references and the next are probes, so every subject has the same number of
    references and from 2 to ``probes_per_identity`` probes. Everyone else is, in this order of choice, auxiliary,
    impostor or distractor; no person plays two of these roles.

    Attributes:
        references_per_identity: photos a subject gives to build a mask; 0 for methods that need none.
        probes_per_identity: most probes of a subject; ``None`` takes all photos left.
        distractors_per_identity: most photos of a distractor; ``None`` takes all.
        auxiliary_identities: how many people who are not subjects become auxiliary, with all their photos.
        impostor_identities: likewise for impostors.
        max_identities: most subjects; ``None`` takes everyone who can be one.
        seed: names the draw of people.

    Raises:
        DatasetError: a number is out of range.
    """

    references_per_identity: int
    probes_per_identity: int | None
    distractors_per_identity: int | None
    auxiliary_identities: int
    impostor_identities: int
    max_identities: int | None
    seed: int

    def __post_init__(self) -> None:
        for name, lowest in (
            ("references_per_identity", 0),
            ("probes_per_identity", PROBES_NEEDED),
            ("distractors_per_identity", 1),
            ("auxiliary_identities", 0),
            ("impostor_identities", 0),
            ("max_identities", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise DatasetError(f"dataset.{name} is {value}: it must be at least {lowest}")


def assign_roles(people: Mapping[str, Sequence[str]], rule: SplitRule) -> dict[str, Role]:
    """The role of each photo that has one.

    Args:
        people: usable photos of each identity.
        rule: how to split.

    Raises:
        DatasetError: nobody has enough photos, or fewer people are left than the rule asks for.
    """
    photos = {identity: sorted(names) for identity, names in people.items() if names}
    needed = rule.references_per_identity + PROBES_NEEDED
    able = [identity for identity, names in photos.items() if len(names) >= needed]
    if not able:
        most = max(map(len, photos.values()), default=0)
        raise DatasetError(
            f"nobody has {needed} usable photos ({rule.references_per_identity} references, {PROBES_NEEDED} probes); "
            f"the most is {most}: add photos or lower dataset.references_per_identity"
        )
    subjects = _draw(able, rule.max_identities, rule.seed, "subject")
    others = [identity for identity in photos if identity not in subjects]
    wanted = rule.auxiliary_identities + rule.impostor_identities
    if wanted > len(others):
        raise DatasetError(
            f"dataset.auxiliary_identities and dataset.impostor_identities ask for {wanted} people but only "
            f"{len(others)} are not subjects: lower them, set dataset.max_identities, or give dataset.auxiliary_root "
            "and dataset.impostor_root"
        )
    auxiliary = _draw(others, rule.auxiliary_identities, rule.seed, "auxiliary")
    rest = [identity for identity in others if identity not in auxiliary]
    impostors = _draw(rest, rule.impostor_identities, rule.seed, "impostor")

    roles: dict[str, Role] = {}
    for identity, names in sorted(photos.items()):
        if identity in subjects:
            first = rule.references_per_identity
            roles |= dict.fromkeys(names[:first], "reference")
            roles |= dict.fromkeys(_first(names[first:], rule.probes_per_identity), "probe")
        elif identity in auxiliary:
            roles |= dict.fromkeys(names, "auxiliary")
        elif identity in impostors:
            roles |= dict.fromkeys(names, "impostor")
        else:
            roles |= dict.fromkeys(_first(names, rule.distractors_per_identity), "distractor")
    return roles


def _draw(identities: Iterable[str], count: int | None, seed: int, purpose: str) -> set[str]:
    ranked = sorted(identities, key=lambda identity: stream_seed(seed, "folder", purpose, identity))
    return set(_first(ranked, count))


def _first(names: Sequence[str], count: int | None) -> Sequence[str]:
    return names if count is None else names[:count]
