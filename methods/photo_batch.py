"""The `PhotoBatch`: the photos of one planned chunk, and what their owners give for them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from cloakbench.methods.context import MissingNeedError, Need


@dataclass(frozen=True)
class PhotoBatch:
    """The photos to protect and, for methods that ask, other photos of their owners.

    Attributes:
        images: float ``[N, 3, H, W]`` in [0, 1], the photos to protect.
        image_id: N names; they seed per-image randomness.
        owner: long ``[N]``, for each photo the row of its owner in ``identities``.
        identities: P names of the people in this chunk; they seed per-person randomness.
        references: float ``[P, R, 3, H, W]``, other photos of each person, or None.
        reference_id: P x R names of the reference photos, empty when there are none.
        reference_landmarks: float ``[P, R, 5, 2]``, points of the faces on the reference photos, or None.
        views: float ``[P, K, 3, H, W]`` in [0, 1], other pictures of each person that a generator made of the first
            reference photo, or None.
        landmarks: float ``[N, 5, 2]`` or None.
        aim_photos: float ``[P, 3, H, W]``, for each person the photo of somebody else to be mistaken for, or None.
            Success is measured on another photo of that somebody.
    """

    images: Tensor
    image_id: tuple[str, ...]
    owner: Tensor
    identities: tuple[str, ...]
    references: Tensor | None = None
    reference_id: tuple[tuple[str, ...], ...] = ()
    reference_landmarks: Tensor | None = None
    views: Tensor | None = None
    landmarks: Tensor | None = None
    aim_photos: Tensor | None = None

    def require_references(self) -> Tensor:
        """Other photos of each person, ``[P, R, 3, H, W]``.

        Raises:
            MissingNeedError: there are none.
        """
        return _given(self.references, Need.REFERENCES)

    def require_reference_landmarks(self) -> Tensor:
        """Landmarks of each reference photo, ``[P, R, 5, 2]``.

        Raises:
            MissingNeedError: there are none.
        """
        return _given(self.reference_landmarks, Need.REFERENCE_LANDMARKS)

    def require_views(self) -> Tensor:
        """Other pictures of each person, ``[P, K, 3, H, W]``.

        Raises:
            MissingNeedError: there are none.
        """
        return _given(self.views, Need.GENERATOR)

    def require_landmarks(self) -> Tensor:
        """Landmarks of each photo, ``[N, 5, 2]``.

        Raises:
            MissingNeedError: there are none.
        """
        return _given(self.landmarks, Need.LANDMARKS)

    def require_aim_photos(self) -> Tensor:
        """For each person the photo to be mistaken for, ``[P, 3, H, W]``.

        Raises:
            MissingNeedError: there are none.
        """
        return _given(self.aim_photos, Need.AIM)

    def offers(self, need: Need) -> bool:
        """Whether a need that photos meet is met."""
        met = {
            Need.REFERENCES: self.references,
            Need.REFERENCE_LANDMARKS: self.reference_landmarks,
            Need.GENERATOR: self.views,
            Need.LANDMARKS: self.landmarks,
            Need.AIM: self.aim_photos,
        }
        return met.get(need) is not None


def _given(value: Tensor | None, need: Need) -> Tensor:
    if value is None:
        raise MissingNeedError(f"these photos come without {need}: declare the need of it")
    return value
