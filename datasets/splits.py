"""Splits of a data set: each photo's role, decided while as few photos as possible are opened.

The split is a function of names, options and of which photos are usable. People are drawn by a hash of seed and name,
so a person who is added or removed moves nobody else, and a smaller selection is part of a larger one with the same
seed. A drawn person's photos are looked at in their listed order until the person has enough; a person who lacks usable
photos is replaced by the next in hash order. Nobody and nothing behind that point is looked at.

Who plays what:

* *Subjects* have ``references_per_identity`` usable references and then at least two probes: a probe is attacked with
  the person's other probes in the gallery. One is enough where a protocol of impersonation gives a person that one
  photo. Photos with a published role ``reference`` or ``probe`` come first for that
  role and never play the other; photos without one follow.
* With ``test_share``, the same photos of a subject are ``train`` and ``test`` instead, and with ``validation_share``
  some of them ``validation``. Published photos of these roles always keep theirs.
* Everyone else without a published role is, in this order of choice, auxiliary, impostor or distractor.
* People with the published role auxiliary, impostor or distractor have that role. Nobody plays two of these roles.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from cloakbench.bench.core.random_streams import stream_seed
from cloakbench.datasets.base import Role
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.split_rule import PROBES_NEEDED, SplitRule

_PARTS: tuple[Role, ...] = ("train", "validation", "test")
_COUNTS = {2: "two", 3: "three"}
_NEEDED = {
    2: "2 usable photos (one to train, one to test)",
    3: "3 usable photos (one to train, one to validate, one to test)",
}


@dataclass(frozen=True)
class Person:
    """The listed photos of one person, by row: those whose role is published, and the others."""

    name: str
    free: Sequence[int] = ()
    fixed: Mapping[Role, Sequence[int]] = field(default_factory=dict)


class PhotoSource(Protocol):
    """Photos that are opened when somebody asks."""

    def expect(self, rows: Iterable[int]) -> None:
        """Rows that will be asked for, in this order: a hint to read ahead."""
        ...

    def usable(self, row: int) -> bool:
        """Opens the photo on the first call."""
        ...


def assign_roles(
    people: Sequence[Person], names: Sequence[str], rule: SplitRule, photos: PhotoSource
) -> dict[int, Role]:
    """The role of each row that has one.

    Args:
        people: everyone, with the rows of their photos.
        names: the image id of every row.
        rule: how to split.
        photos: says which photos are usable.

    Raises:
        DatasetError: nobody has enough photos, or fewer people are left than the rule asks for.
    """
    able = [person for person in people if _may_be_subject(person) and _take(_subject_wishes(person, rule))]
    subjects = _draw(able, "subject", rule.max_identities, lambda person: _subject_wishes(person, rule), rule, photos)
    if not subjects:
        raise DatasetError(_nobody(people, able, rule, photos))
    roles = _subject_roles(people, subjects, names, rule)

    rest = [person for person in people if person.name not in subjects and not person.fixed]
    wanted = rule.auxiliary_identities + rule.impostor_identities
    _check_enough(wanted, len(rest), "are not subjects")
    drawn = 0
    others: tuple[tuple[Role, int, int | None], ...] = (
        ("auxiliary", rule.auxiliary_identities, rule.auxiliary_per_identity),
        ("impostor", rule.impostor_identities, rule.impostors_per_identity),
    )
    for role, count, most in others:
        chosen = _draw(rest, role, count, _wish(role, most), rule, photos)
        drawn += len(chosen)
        rest = [person for person in rest if person.name not in chosen]
        chosen |= _draw(_published(people, role), role, None, _wish(role, most), rule, photos)
        roles |= _all(_rows(chosen), role)
    _check_enough(wanted, drawn, "are not subjects and have a usable photo")

    pool = rest + _published(people, "distractor")
    wish = _wish("distractor", rule.distractors_per_identity)
    chosen = _draw(pool, "distractor", rule.max_distractors, wish, rule, photos, by_photo=True)
    return roles | _all(_rows(chosen)[: rule.max_distractors], "distractor")


@dataclass(frozen=True)
class _Wish:
    """Take usable photos of ``rows``, in order, until there are ``most``; fewer than ``least`` will not do."""

    rows: Sequence[int]
    least: int
    most: int | None


def _may_be_subject(person: Person) -> bool:
    return not person.fixed or bool(person.fixed.keys() & {"reference", "probe", *_PARTS})


def _subject_wishes(person: Person, rule: SplitRule) -> list[_Wish]:
    fixed = person.fixed
    if published := [row for part in _PARTS for row in fixed.get(part, ())]:
        return [_Wish(sorted(published), 1, rule.photos_per_subject)]
    references, probes = fixed.get("reference", ()), fixed.get("probe", ())
    if rule.test_share is not None:
        least = rule.parts if rule.test_split == "per_identity" else 1
        return [_Wish(sorted([*references, *probes, *person.free]), least, rule.photos_per_subject)]
    least = 1 if len(probes) == 1 and not (references or person.free) else PROBES_NEEDED
    return [
        _Wish([*references, *person.free], rule.references_per_identity, rule.references_per_identity),
        _Wish([*probes, *person.free], least, rule.probes_per_identity),
    ]


def _wish(role: Role, most: int | None) -> Callable[[Person], list[_Wish]]:
    return lambda person: [_Wish(person.fixed.get(role, person.free), 1, most)]


def _published(people: Iterable[Person], role: Role) -> list[Person]:
    return [person for person in people if role in person.fixed]


def _take(wishes: Sequence[_Wish], usable: Callable[[int], bool] = lambda _: True) -> list[list[int]] | None:
    """The photos that fulfil each wish, none of them twice; None when some wish cannot be fulfilled."""
    taken: set[int] = set()
    chosen: list[list[int]] = []
    for wish in wishes:
        some: list[int] = []
        for row in wish.rows:
            if wish.most is not None and len(some) >= wish.most:
                break
            if row not in taken and usable(row):
                some.append(row)
        taken.update(some)
        chosen.append(some)
    enough = all(len(some) >= wish.least for some, wish in zip(chosen, wishes, strict=True))
    return chosen if enough else None


def _draw(
    people: Sequence[Person],
    purpose: str,
    limit: int | None,
    wishes_of: Callable[[Person], list[_Wish]],
    rule: SplitRule,
    photos: PhotoSource,
    by_photo: bool = False,
) -> dict[str, list[list[int]]]:
    """The first ``limit`` people in hash order, or people with ``limit`` photos, whose wishes can be fulfilled.

    Only what is looked at for certain is announced to ``photos``: with k people still missing, the next k.
    """
    ranked = sorted(people, key=lambda person: stream_seed(rule.seed, "folder", purpose, person.name))
    missing = math.inf if limit is None else limit
    announced: deque[int] = deque()
    promised = 0
    waiting = iter(ranked)
    chosen: dict[str, list[list[int]]] = {}
    for person in ranked:
        if missing <= 0:
            break
        while promised < missing and (next_person := next(waiting, None)):
            rows = list(chain.from_iterable(_take(wishes_of(next_person)) or []))
            photos.expect(rows)
            announced.append(len(rows) if by_photo else 1)
            promised += announced[-1]
        promised -= announced.popleft()
        taken = _take(wishes_of(person), photos.usable)
        if taken is not None:
            chosen[person.name] = taken
            missing -= sum(map(len, taken)) if by_photo else 1
    return chosen


def _rows(chosen: Mapping[str, list[list[int]]]) -> list[int]:
    return [row for taken in chosen.values() for some in taken for row in some]


def _all(rows: Iterable[int], role: Role) -> dict[int, Role]:
    return dict.fromkeys(rows, role)


def _subject_roles(
    people: Iterable[Person], subjects: Mapping[str, list[list[int]]], names: Sequence[str], rule: SplitRule
) -> dict[int, Role]:
    roles: dict[int, Role] = {}
    to_split: dict[str, list[int]] = {}
    for person in people:
        match subjects.get(person.name):
            case [references, probes]:
                roles |= _all(references, "reference") | _all(probes, "probe")
            case [rows]:
                published: dict[int, Role] = {row: part for part in _PARTS for row in person.fixed.get(part, ())}
                if published:
                    roles |= {row: published[row] for row in rows}
                else:
                    to_split[person.name] = rows
    return roles | _parts(to_split, names, rule)


def _parts(photos: Mapping[str, list[int]], names: Sequence[str], rule: SplitRule) -> dict[int, Role]:
    """``train``, ``test`` and, where it is asked for, ``validation``."""
    if not photos or rule.test_share is None:
        return {}
    if rule.test_split == "by_identity":
        part = _divided(list(photos), rule)
        return {row: part[name] for name, rows in photos.items() for row in rows}
    roles: dict[int, Role] = {}
    for rows in photos.values():
        part = _divided([names[row] for row in rows], rule)
        roles |= {row: part[names[row]] for row in rows}
    return roles


def _divided(names: Sequence[str], rule: SplitRule) -> dict[str, Role]:
    """The part of each name, drawn by hash: the first are for testing, the next for validation; no part is empty."""
    assert rule.test_share is not None
    if len(names) < rule.parts:
        raise DatasetError(
            f"dataset.test_split=by_identity needs {_COUNTS[rule.parts]} people: add some, or use per_identity"
        )

    def count(share: float, most: int) -> int:
        return min(max(math.floor(len(names) * share + 0.5), 1), most)

    ranked = sorted(names, key=lambda name: stream_seed(rule.seed, "folder", "test", name))
    tests = count(rule.test_share, len(names) - rule.parts + 1)
    others = tests
    if rule.validation_share is not None:
        others += count(rule.validation_share, len(names) - tests - 1)
    part: dict[str, Role] = dict.fromkeys(ranked, "train")
    part.update(dict.fromkeys(ranked[:others], "validation"))
    part.update(dict.fromkeys(ranked[:tests], "test"))
    return part


def _nobody(people: Sequence[Person], able: Sequence[Person], rule: SplitRule, photos: PhotoSource) -> str:
    """Why there is no subject. Everyone who looked able was looked at; for the others the list says enough."""
    opened = {person.name for person in able}
    counts = [
        sum(photos.usable(row) for row in rows) if person.name in opened else len(rows)
        for person in people
        if _may_be_subject(person)
        for rows in [[*person.free, *chain.from_iterable(person.fixed.values())]]
    ]
    if rule.test_share is not None:
        needed = _NEEDED[rule.parts]
    else:
        needed = f"{rule.references_per_identity + PROBES_NEEDED} usable photos "
        needed += f"({rule.references_per_identity} references, {PROBES_NEEDED} probes)"
    remedy = "add photos" if rule.test_share is not None else "add photos or lower dataset.references_per_identity"
    return f"nobody has {needed}; the most is {max(counts, default=0)}: {remedy}"


def _check_enough(wanted: int, there: int, what: str) -> None:
    if wanted > there:
        raise DatasetError(
            f"dataset.auxiliary_identities and dataset.impostor_identities ask for {wanted} people but only {there} "
            f"{what}: lower them, set dataset.max_identities, or give dataset.auxiliary_root and dataset.impostor_root"
        )
