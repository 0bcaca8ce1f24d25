"""People in chunks: whose photos are protected together, and so share a forward pass.

The chunk is part of the plan, never of the machine, since float sums depend on which photos a batch holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.random_streams import stream_seed
from cloakbench.bench.plan.limits import Limit
from cloakbench.datasets.base import FaceSet


@dataclass(frozen=True)
class Chunk:
    """People whose photos are protected together, as rows of the photos' and references' faces."""

    number: int
    identities: tuple[str, ...]
    probes: tuple[int, ...]
    references: tuple[tuple[int, ...], ...]
    aims: tuple[int, ...]
    """Row in the auxiliary faces of the photo each person is to be mistaken for; empty without auxiliary faces."""


def build_chunks(
    probes: FaceSet,
    references: FaceSet | None,
    auxiliary: FaceSet | None,
    *,
    people: int,
    seed: int,
    aims: Mapping[str, str] | None = None,
    most_references: int | None = None,
) -> list[Chunk]:
    """Split the people of the photos into chunks of ``people`` in order of first appearance.

    With ``most_references`` everybody gives the same number of references: so many, or as many as the one who has
    fewest.

    Each person is given somebody of the auxiliary faces who has at least two photos: the first photo is what a targeted
    method may see, the second is what success is measured on. Who that is, ``aims`` says, a data set's own protocol
    (person to auxiliary person); for people it does not name it is drawn from (seed, identity).

    Raises:
        ConfigError: somebody named in ``aims`` has fewer than two auxiliary photos.
    """
    rows_of = probes.rows_by_identity()
    references_of = references.rows_by_identity() if references else {}
    if most_references is not None and references_of:
        given = min(most_references, *(len(rows) for rows in references_of.values()))
        references_of = {name: rows[:given] for name, rows in references_of.items()}
    auxiliary_rows = auxiliary.rows_by_identity() if auxiliary else {}
    pairs = [rows for rows in auxiliary_rows.values() if len(rows) > 1]
    fixed = {name: auxiliary_rows.get(other, []) for name, other in (aims or {}).items() if name in rows_of}
    if short := sorted(name for name, rows in fixed.items() if len(rows) < 2):
        raise ConfigError(
            f"{short[0]} is to be mistaken for {(aims or {})[short[0]]}, who needs two auxiliary photos, one to aim at "
            f"and one to measure, and has {len(fixed[short[0]])}: raise dataset.auxiliary_per_identity or add photos"
        )

    def aim(name: str) -> int:
        return (fixed.get(name) or pairs[stream_seed(seed, "target", name) % len(pairs)])[0]

    identities = list(rows_of)
    chunks = []
    for number, start in enumerate(range(0, len(identities), people)):
        names = identities[start : start + people]
        chunks.append(
            Chunk(
                number,
                tuple(names),
                tuple(row for name in names for row in rows_of[name]),
                tuple(tuple(references_of.get(name, ())) for name in names),
                tuple(aim(name) for name in names) if pairs else (),
            )
        )
    return chunks


def narrow(chunks: Sequence[Chunk], faces: FaceSet, limit: Limit) -> list[Chunk]:
    """The part of a plan that a costly method works on.

    What a method is not run on is not planned, and stands in no rate of it; the other photos of the people stay in the
    gallery.
    """
    narrowed = []
    left = sum(len(chunk.identities) for chunk in chunks) if limit.people is None else limit.people
    for chunk in chunks:
        names = chunk.identities[:left]
        left -= len(names)
        rows: dict[str, list[int]] = {name: [] for name in names}
        for row in chunk.probes:
            of_person = rows.get(faces.identity[row])
            if of_person is not None and (limit.photos is None or len(of_person) < limit.photos):
                of_person.append(row)
        if names:
            kept = tuple(row for of_person in rows.values() for row in of_person)
            count = len(names)
            narrowed.append(Chunk(chunk.number, names, kept, chunk.references[:count], chunk.aims[:count]))
    return narrowed


def measured_aim_rows(auxiliary: FaceSet, chunks: Sequence[Chunk]) -> dict[str, int]:
    """For each person the row of the photo that success is measured on: the one after the photo it may aim at."""
    rows_of = auxiliary.rows_by_identity()
    return {
        name: rows_of[auxiliary.identity[row]][1]
        for chunk in chunks
        for name, row in zip(chunk.identities, chunk.aims, strict=bool(chunk.aims))
    }
