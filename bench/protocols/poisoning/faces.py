"""Faces of a poisoning: whose photos are published, whose test the classifier, and who else it learns to name."""

from __future__ import annotations

from collections.abc import Collection

from cloakbench.bench.core.errors import ConfigError
from cloakbench.datasets.base import Dataset, FaceSet


def poisoning_faces(dataset: Dataset, identities: int | None, others: int | None) -> tuple[FaceSet, FaceSet, FaceSet]:
    """Published and test photos of the first people that have both, and training photos of other people.

    Args:
        dataset: where they are from.
        identities: people who publish, at most; None for all.
        others: how many more people there must be; None for all that there are.

    Raises:
        ConfigError: there are too few of them.
    """
    if missing := [role for role in ("train", "test") if role not in dataset.roles()]:
        raise ConfigError(
            f"data set {dataset.name} has no {missing[0]} photos, which poisoning needs: give it a share of test "
            "photos (the embedded world: dataset=synthetic_published)"
        )
    train, test = dataset.faces("train"), dataset.faces("test")
    both = set(test.identity)
    names = [name for name in train.identities() if name in both][:identities]
    if len(names) < 2:
        raise ConfigError(
            f"poisoning needs at least two people with train and test photos, {dataset.name} has {len(names)}"
        )
    kept = set(names)
    more = [name for name in train.identities() if name not in kept][:others]
    if others and len(more) < others:
        raise ConfigError(
            f"other_identities of poisoning is {others}, but {dataset.name} has training photos of {len(more)} "
            f"people beside the {len(names)} protected: lower it or give the data set more people"
        )
    return _photos_of(train, names), _photos_of(test, names), _photos_of(train, more)


def tested(test: FaceSet, published: FaceSet) -> FaceSet:
    """The clean test photos of the people who published."""
    return _photos_of(test, published.identities())


def _photos_of(faces: FaceSet, names: Collection[str]) -> FaceSet:
    wanted = set(names)
    return faces.select([row for row, name in enumerate(faces.identity) if name in wanted])
