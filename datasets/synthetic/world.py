"""The embedded face world as a data set, and labelled faces to train the zoo on.

Pictures are procedural: no person exists, nothing is downloaded, and any number of them can be had. Every person and
every photo has a name that says what it is for, and is drawn from streams of that name. Roles cannot share people or
photos because they do not share names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import at_least, positive, share, whole
from cloakbench.datasets.base import Dataset, FaceSet, Role
from cloakbench.datasets.cores import available_cores
from cloakbench.datasets.synthetic.face_batch import FaceBatch, renderer_version
from cloakbench.datasets.synthetic.person_labels import person_labels
from cloakbench.datasets.synthetic.render_cache import Progress, rendered_faces


class SyntheticWorld(Dataset):
    """People who protect their photos, and everybody else in the attacker's gallery.

    Roles: ``reference`` and ``probe`` (the same people, other photos), ``distractor`` (one photo each of other
    people), ``auxiliary`` and ``impostor`` (other people again), ``train`` and ``test`` (people whose published photos
    somebody trains on; the same people in both, and in no other role).

    Args:
        seed: names a world; worlds with other seeds have other people.
        identities: people who protect their photos.
        references_per_identity, probes_per_identity: their photos.
        distractors: people in the gallery, one photo each.
        auxiliary_identities, auxiliary_images: public faces, people and photos of each.
        aim_groups: the people are put into so many groups in turn, and each group shares one auxiliary person whom it
            is to be mistaken for; 0 leaves that to the plan, which draws somebody for each person.
        impostor_identities, impostor_images: people whose pairs calibrate verification thresholds.
        poison_identities, poison_images: people of ``train`` and ``test``, and photos of each.
        poison_test_share: share of each person's photos, drawn at random, that are for ``test``.
        identity_scale: multiplies the differences between people; 1.2 to 1.4 gives small networks a Top-1 of 95 to
            99.5 % against 2 000 distractors.
        nuisance_scale: multiplies the differences between photos of one person.
        cache: folder for rendered faces; ``None`` renders them in memory.

    Raises:
        ValueError: a count is negative, a scale is not positive, a person has no photo for ``train`` or ``test``, or
            there are more groups than auxiliary people with two photos.
    """

    name = "synthetic"
    rendered = True

    def __init__(
        self,
        *,
        seed: int = 0,
        identities: int = 50,
        references_per_identity: int = 10,
        probes_per_identity: int = 10,
        distractors: int = 2000,
        auxiliary_identities: int = 50,
        auxiliary_images: int = 4,
        aim_groups: int = 0,
        impostor_identities: int = 200,
        impostor_images: int = 2,
        poison_identities: int = 0,
        poison_images: int = 25,
        poison_test_share: float = 0.2,
        identity_scale: float = 1.3,
        nuisance_scale: float = 1.0,
        cache: str | Path | None = None,
    ) -> None:
        counts = {
            "identities": identities,
            "references_per_identity": references_per_identity,
            "probes_per_identity": probes_per_identity,
            "distractors": distractors,
            "auxiliary_identities": auxiliary_identities,
            "auxiliary_images": auxiliary_images,
            "aim_groups": aim_groups,
            "impostor_identities": impostor_identities,
            "impostor_images": impostor_images,
            "poison_identities": poison_identities,
            "poison_images": poison_images,
        }
        for name, count in counts.items():
            whole(name, count, 0)
        tests = round(share("poison_test_share", poison_test_share) * poison_images)
        if poison_identities and not 0 < tests < poison_images:
            raise ValueError(
                f"poison_test_share={poison_test_share:g} of {poison_images} photos leaves no photo to train on or to "
                "test on; use poison_identities=0 for neither"
            )
        self._aim_groups = _checked_groups(aim_groups, auxiliary_identities, auxiliary_images)
        self._plan: dict[Role, tuple[str, int, int]] = {
            "reference": ("person", identities, references_per_identity),
            "probe": ("person", identities, probes_per_identity),
            "distractor": ("distractor", distractors, 1),
            "auxiliary": ("auxiliary", auxiliary_identities, auxiliary_images),
            "impostor": ("impostor", impostor_identities, impostor_images),
            "train": ("poisoner", poison_identities, poison_images - tests),
            "test": ("poisoner", poison_identities, tests),
        }
        self._poison_images = poison_images
        self._prefix = f"synthetic/s{seed}"
        self._scales = _checked_scales(identity_scale, nuisance_scale)
        self._cache = cache
        self._faces: dict[Role, FaceSet] = {}
        self.version = f"{renderer_version()}-s{seed}-i{identity_scale:g}-n{nuisance_scale:g}"

    def roles(self) -> tuple[Role, ...]:
        """The roles that have at least one photo."""
        return tuple(role for role, (_, people, photos) in self._plan.items() if people * photos)

    def aims(self) -> Mapping[str, str]:
        """Person to the auxiliary person of the group; nobody without groups."""
        people = range(self._plan["probe"][1] if self._aim_groups else 0)
        names = {group: f"{self._prefix}/{group}" for group in ("person", "auxiliary")}
        return {
            f"{names['person']}-{number:04d}": f"{names['auxiliary']}-{number % self._aim_groups:04d}"
            for number in people
        }

    def faces(self, role: Role) -> FaceSet:
        """The faces of a role, rendered when first asked for."""
        if role not in self.roles():
            raise KeyError(f"the synthetic world has no {role!r} faces; it has {', '.join(self.roles())}")
        if role not in self._faces:
            group, people, photos = self._plan[role]
            names = [f"{self._prefix}/{group}-{number:04d}" for number in range(people)]
            if role in ("train", "test"):
                self._divide(names)
            else:
                self._faces[role] = self._drawn(_face_batch(names, role, photos, *self._scales))
        return self._faces[role]

    def _divide(self, names: list[str]) -> None:
        """Draw the photos of ``train`` and ``test`` together, then split each person's by a draw of their own."""
        whole = self._drawn(_face_batch(names, "published", self._poison_images, *self._scales))
        tests = self._plan["test"][2]
        order = torch.stack(
            [torch.randperm(self._poison_images, generator=generator("synthetic test photos", name)) for name in names]
        )
        rows = torch.arange(len(whole)).view(len(names), -1).gather(1, order)
        self._faces["test"] = whole.select(rows[:, :tests].sort(dim=1).values.flatten())
        self._faces["train"] = whole.select(rows[:, tests:].sort(dim=1).values.flatten())

    def _drawn(self, album: FaceBatch) -> FaceSet:
        return _labelled(album, rendered_faces(album, self._cache, available_cores(), threads=True))


def training_faces(
    *,
    seed: int = 0,
    first_identity: int = 0,
    identities: int = 600,
    images_per_identity: int = 40,
    identity_scale: float = 1.3,
    nuisance_scale: float = 1.0,
    cache: str | Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> FaceSet:
    """Labelled faces for training: people ``first_identity`` and following of the training population ``seed``.

    No role of any ``SyntheticWorld`` shows one of them, whatever the seeds. A longer range contains the same people
    and photos as a shorter one. Photos of one person are adjacent.

    Args:
        seed: names a training population.
        first_identity, identities: the range of people.
        images_per_identity: photos of each.
        identity_scale, nuisance_scale: as for ``SyntheticWorld``.
        cache: folder for rendered faces. With it the images are memory-mapped (600 x 40 take 0.9 GB) and a killed
            rendering continues with the first unfinished shard.
        workers: rendering processes of one thread each; needs ``cache``.
        progress: called with the finished and the total number of photos.
    """
    numbers = range(first_identity, first_identity + identities)
    names = [f"synthetic/training-s{seed}/{number:05d}" for number in numbers]
    batch = _face_batch(names, "train", images_per_identity, *_checked_scales(identity_scale, nuisance_scale))
    return _labelled(batch, rendered_faces(batch, cache, workers, progress))


def _labelled(batch: FaceBatch, faces: FaceSet) -> FaceSet:
    """The faces of a batch with the labels that follow from who is on them, beside those that were drawn."""
    return replace(faces, attributes={**faces.attributes, **person_labels(batch, faces.attributes)})


def _face_batch(names: list[str], role: str, photos: int, identity_scale: float, nuisance_scale: float) -> FaceBatch:
    return FaceBatch(
        tuple(f"{name}/{role}-{photo:02d}" for name in names for photo in range(photos)),
        tuple(name for name in names for _ in range(photos)),
        identity_scale,
        nuisance_scale,
    )


def _checked_groups(groups: int, people: int, photos: int) -> int:
    if groups > (people if photos > 1 else 0):
        raise ValueError(
            f"aim_groups={groups} takes as many auxiliary people with two photos each; there are {people} with {photos}"
        )
    return groups


def _checked_scales(identity_scale: float, nuisance_scale: float) -> tuple[float, float]:
    return positive("identity_scale", identity_scale), at_least("nuisance_scale", nuisance_scale)
