"""The options of a split: how many people and photos play which role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cloakbench.datasets.photos import DatasetError

PROBES_NEEDED = 2
"""A probe is attacked with the person's other probes in the gallery, so there must be another."""

TestSplit = Literal["per_identity", "by_identity"]


@dataclass(frozen=True)
class SplitRule:
    """How people and photos become roles.

    Attributes:
        references_per_identity: photos a subject gives to build a mask; 0 for methods that need none.
        probes_per_identity: most probes of a subject; ``None`` takes all photos left.
        distractors_per_identity: most photos of a distractor; ``None`` takes all.
        max_distractors: most distractor photos in all, people in hash order; ``None`` takes everyone left.
        auxiliary_identities: how many people who are not subjects become auxiliary.
        auxiliary_per_identity: most photos of an auxiliary person; ``None`` takes all.
        impostor_identities: how many people who are neither become impostors.
        impostors_per_identity: most photos of an impostor; ``None`` takes all.
        max_identities: most subjects; ``None`` takes everyone who can be one.
        test_share: share of the photos (or people) for ``test``; ``None`` gives references and probes instead.
        validation_share: share for ``validation``, beside ``test_share``; ``None`` gives no such part. What is in
            ``test`` does not depend on it.
        test_split: ``per_identity`` splits each subject's photos, of which there must be one for each part;
            ``by_identity`` splits the subjects, so that nobody is in two parts and one photo of a person is enough.
            Each part gets at least one photo (of each person) or person.
        seed: names the draw of people and of test photos.

    Raises:
        DatasetError: a value is out of range.
    """

    references_per_identity: int = 2
    probes_per_identity: int | None = 3
    distractors_per_identity: int | None = 1
    max_distractors: int | None = None
    auxiliary_identities: int = 0
    auxiliary_per_identity: int | None = None
    impostor_identities: int = 0
    impostors_per_identity: int | None = None
    max_identities: int | None = None
    test_share: float | None = None
    validation_share: float | None = None
    test_split: TestSplit = "per_identity"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, lowest in (
            ("references_per_identity", 0),
            ("probes_per_identity", PROBES_NEEDED),
            ("distractors_per_identity", 1),
            ("max_distractors", 0),
            ("auxiliary_identities", 0),
            ("auxiliary_per_identity", 1),
            ("impostor_identities", 0),
            ("impostors_per_identity", 1),
            ("max_identities", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise DatasetError(f"dataset.{name} is {value}: it must be at least {lowest}")
        if self.test_share is not None and not 0 < self.test_share < 1:
            raise DatasetError(f"dataset.test_share is {self.test_share}: it must lie between 0 and 1, or be null")
        if self.validation_share is not None:
            self._check_validation(self.validation_share)
        if self.test_split not in ("per_identity", "by_identity"):
            raise DatasetError(f"dataset.test_split is {self.test_split!r}: use per_identity or by_identity")

    def _check_validation(self, share: float) -> None:
        if self.test_share is None:
            raise DatasetError("dataset.validation_share needs dataset.test_share: set both, or neither")
        if not 0 < share < 1 - self.test_share:
            raise DatasetError(
                f"dataset.validation_share is {share}: it must lie above 0 and leave something to train on beside "
                f"dataset.test_share={self.test_share}"
            )

    @property
    def parts(self) -> int:
        """Parts that a subject's photos, or the subjects, are split into with ``test_share``."""
        return 2 if self.validation_share is None else 3

    @property
    def photos_per_subject(self) -> int | None:
        """Most photos of a subject, whatever their roles."""
        return None if self.probes_per_identity is None else self.references_per_identity + self.probes_per_identity
