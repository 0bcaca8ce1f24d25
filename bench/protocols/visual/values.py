"""`value_records`: what an image metric says of each photo, as records of `visual`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.protocols.quality.protocol import VALUES
from cloakbench.datasets.base import Role


def value_records(answers: Answers, cell: int, roles: Sequence[Role], name: str, status: Sequence[str]) -> pd.DataFrame:
    """One row per photo with its role, and the value in a column ``name``; NaN where there is none."""
    faces, (given, _) = answers.faces, answers.protected(cell)
    return pd.DataFrame(
        {
            "image_id": list(faces.image_id),
            "identity": list(faces.identity),
            "status": list(status),
            "note": "",
            "role": list(roles),
            name: given[VALUES].numpy() if given else np.full(len(faces), np.nan),
        }
    )
