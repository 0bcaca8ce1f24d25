"""`FaceAligner`: the aligned crop of the face in a picture that is in memory, such as one that a generator made."""

from __future__ import annotations

from torch import Tensor

from cloakbench.datasets.crops import align
from cloakbench.datasets.detection import Detector, choose_face, detect_faces
from cloakbench.datasets.photos import PhotoError


class FaceAligner:
    """Finds the main face of a picture and brings it to the ArcFace template.

    Args:
        detector: finds faces and their points.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def __call__(self, picture: Tensor) -> Tensor:
        """The crop, uint8 ``[3, 112, 112]``, of a picture, uint8 ``[3, H, W]``.

        Raises:
            ValueError: there is no face in it.
            DatasetError: the detector's package is missing.
        """
        try:
            found = detect_faces(self.detector, picture)
            row = choose_face(found, *picture.shape[1:])
            return align(picture, found.landmarks[row])[1]
        except PhotoError as problem:
            raise ValueError(f"no face in a picture that was made ({problem.status})") from problem
