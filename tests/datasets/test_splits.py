"""Who is drawn for which role, and which photos are looked at for it."""

from collections.abc import Iterable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakbench.bench.core.random_streams import stream_seed
from cloakbench.datasets.base import Role
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.split_rule import SplitRule
from cloakbench.datasets.splits import Person, assign_roles

BASE = SplitRule(references_per_identity=1, probes_per_identity=2)


class Opened:
    """Photos, some of them unusable; remembers what was announced and what was opened."""

    def __init__(self, unusable: Iterable[int] = ()) -> None:
        self.unusable = set(unusable)
        self.announced: list[int] = []
        self.opened: set[int] = set()

    def expect(self, rows: Iterable[int]) -> None:
        self.announced.extend(rows)

    def usable(self, row: int) -> bool:
        self.opened.add(row)
        return row not in self.unusable


def crowd(*counts: int) -> tuple[list[Person], list[str]]:
    """People with the given numbers of photos, and the names of the photos."""
    everyone, names = [], []
    for number, count in enumerate(counts):
        rows = range(len(names), len(names) + count)
        everyone.append(Person(f"p{number:02}", rows))
        names += [f"p{number:02}/{photo}" for photo in range(count)]
    return everyone, names


def rule(**changes: object) -> SplitRule:
    return SplitRule(**{**vars(BASE), **changes})  # type: ignore[arg-type]


def split(counts: Sequence[int], a_rule: SplitRule, opened: Opened | None = None) -> dict[str, Role]:
    people, names = crowd(*counts)
    return {names[row]: role for row, role in assign_roles(people, names, a_rule, opened or Opened()).items()}


def members(roles: Mapping[str, str], role: str) -> set[str]:
    return {image_id.split("/")[0] for image_id, name in roles.items() if name == role}


def everybody_at_once(counts: Sequence[int], a_rule: SplitRule, unusable: set[int]) -> dict[str, str]:
    """The split of a set all of whose photos are known, said in another way: the reference for the lazy one."""
    people, names = crowd(*counts)
    photos = {person.name: [names[row] for row in person.free if row not in unusable] for person in people}

    def draw(some: list[str], count: int | None, purpose: str) -> list[str]:
        return sorted(some, key=lambda name: stream_seed(a_rule.seed, "folder", purpose, name))[:count]

    first, most = a_rule.references_per_identity, a_rule.probes_per_identity
    subjects = draw([name for name in photos if len(photos[name]) >= first + 2], a_rule.max_identities, "subject")
    others = [name for name in photos if name not in subjects and photos[name]]
    auxiliary = draw(others, a_rule.auxiliary_identities, "auxiliary")
    impostors = draw([n for n in others if n not in auxiliary], a_rule.impostor_identities, "impostor")
    distractors = draw([n for n in others if n not in auxiliary + impostors], a_rule.max_distractors, "distractor")
    roles: dict[str, str] = {}
    for name in subjects:
        roles |= dict.fromkeys(photos[name][:first], "reference")
        roles |= dict.fromkeys(photos[name][first:][:most], "probe")
    for group, role, count in (
        (auxiliary, "auxiliary", a_rule.auxiliary_per_identity),
        (impostors, "impostor", a_rule.impostors_per_identity),
        (distractors, "distractor", 1),
    ):
        for name in group:
            roles |= dict.fromkeys(photos[name][:count], role)
    return roles


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=8, max_size=14),
    st.sets(st.integers(0, 30)),
    st.sampled_from([None, 1, 3]),
    st.sampled_from([None, 2, 3]),
    st.sampled_from([None, 0, 2]),
    st.integers(0, 2),
)
def test_lazy_split_is_the_split_of_everything(counts, unusable, most_people, most_probes, distractors, seed) -> None:
    a_rule = rule(
        max_identities=most_people,
        probes_per_identity=most_probes,
        max_distractors=distractors,
        auxiliary_identities=1,
        impostor_identities=1,
        impostors_per_identity=2,
        seed=seed,
    )
    opened = Opened(unusable)
    try:
        found = split(counts, a_rule, opened)
    except DatasetError:
        expected = everybody_at_once(counts, a_rule, unusable)
        short = [len(members(expected, role)) for role in ("probe", "auxiliary", "impostor")]
        assert min(short) == 0
        return
    assert found == everybody_at_once(counts, a_rule, unusable)
    assert set(opened.announced) <= opened.opened  # nothing is read ahead in vain


def test_selection_is_nested_seeded_and_stable_under_additions() -> None:
    few, more = (members(split([3] * 30, rule(max_identities=n)), "probe") for n in (5, 12))
    assert len(few) == 5
    assert few < more
    assert few != members(split([3] * 30, rule(max_identities=5, seed=1)), "probe")
    grown = members(split([3] * 31, rule(max_identities=12)), "probe")
    assert len(more - grown) <= 1
    people, names = crowd(*[3] * 30)
    backwards = assign_roles(people[::-1], names, rule(max_identities=5), Opened())
    assert few == {names[row][:3] for row, role in backwards.items() if role == "probe"}


def test_only_what_may_be_needed_is_opened() -> None:
    opened = Opened()
    split([50] * 1000, rule(max_identities=50, probes_per_identity=4, max_distractors=100), opened)
    assert len(opened.opened) == 50 * 5 + 100


def test_auxiliary_and_impostors_share_nobody() -> None:
    roles = split([3] * 30, rule(max_identities=10, auxiliary_identities=6, impostor_identities=5))
    groups = [members(roles, role) for role in ("probe", "auxiliary", "impostor", "distractor")]
    assert [len(group) for group in groups] == [10, 6, 5, 9]
    assert len(set.union(*groups)) == 30
    assert members(roles, "reference") == groups[0]
    assert sum(role == "auxiliary" for role in roles.values()) == 18
    with pytest.raises(DatasetError, match="ask for 21 people but only 20 are not subjects: lower them"):
        split([3] * 30, rule(max_identities=10, auxiliary_identities=21))
    with pytest.raises(DatasetError, match="only 1 are not subjects and have a usable photo"):
        split([3, 1, 1], rule(auxiliary_identities=2), Opened([4]))


def test_nobody_can_be_a_subject() -> None:
    with pytest.raises(DatasetError, match=r"nobody has 3 usable photos .* the most is 2: add photos or lower"):
        split([3, 1], BASE, Opened([1]))
    with pytest.raises(DatasetError, match=r"nobody has 2 usable photos \(one to train, one to test\); the most is 1"):
        split([1, 1], rule(test_share=0.5))


def test_distractor_photos_are_counted_one_by_one() -> None:
    roles = split([3, 2, 2, 2], rule(max_distractors=3, distractors_per_identity=2))
    assert sum(role == "distractor" for role in roles.values()) == 3


def test_parts_of_each_person_are_drawn_by_photo() -> None:
    a_rule = rule(probes_per_identity=None, test_share=0.2)
    roles = split([10, 5, 2, 1], a_rule)
    tested = [sum(roles[f"p0{n}/{k}"] == "test" for k in range(count)) for n, count in enumerate((10, 5, 2))]
    assert tested == [2, 1, 1]
    assert roles["p03/0"] == "distractor"
    assert roles != split([10, 5, 2, 1], rule(probes_per_identity=None, test_share=0.2, seed=1))
    assert sum(role == "train" for role in split([10], rule(test_share=0.2)).values()) == 2  # 1 + 2 photos, 1 of them


def test_parts_of_the_people_share_nobody() -> None:
    """Every photo its own person, as in sets without identities."""
    roles = split([1] * 50, rule(test_share=0.3, test_split="by_identity"))
    assert [len(members(roles, part)) for part in ("train", "test")] == [35, 15]
    assert len(roles) == 50
    with pytest.raises(DatasetError, match="needs two people"):
        split([1], rule(test_share=0.3, test_split="by_identity"))


def test_a_validation_part_comes_out_of_the_training_part() -> None:
    """Seven, one and two tenths of the people; who is tested stays the same without it."""
    plain = split([1] * 50, rule(test_share=0.2, test_split="by_identity"))
    roles = split([1] * 50, rule(test_share=0.2, validation_share=0.1, test_split="by_identity"))
    parts = {part: members(roles, part) for part in ("train", "validation", "test")}
    assert [len(part) for part in parts.values()] == [35, 5, 10] and len(roles) == 50
    assert parts["test"] == members(plain, "test")
    photos = split([10], rule(probes_per_identity=None, test_share=0.2, validation_share=0.1))
    assert sorted(photos.values()) == ["test"] * 2 + ["train"] * 7 + ["validation"]
    smallest = split([3], rule(probes_per_identity=None, test_share=0.9, validation_share=0.05))
    assert sorted(smallest.values()) == ["test", "train", "validation"]
    with pytest.raises(DatasetError, match="needs three people"):
        split([1, 1], rule(test_share=0.3, validation_share=0.3, test_split="by_identity"))
    with pytest.raises(
        DatasetError, match=r"nobody has 3 usable photos \(one to train, one to validate, one to test\)"
    ):
        split([2], rule(probes_per_identity=None, test_share=0.3, validation_share=0.3))
    with pytest.raises(DatasetError, match=r"validation_share needs dataset\.test_share"):
        rule(validation_share=0.1)
    with pytest.raises(DatasetError, match=r"validation_share is 0\.8: .* beside dataset\.test_share=0\.2"):
        rule(validation_share=0.8, test_share=0.2)


def test_published_parts_win_over_the_share() -> None:
    people = [
        Person("ann", fixed={"train": [0, 2], "test": [1]}),
        Person("bob", [3, 4]),
        Person("cid", fixed={"validation": [5]}),
    ]
    roles = assign_roles(people, list("abcdef"), rule(test_share=0.5), Opened())
    assert [roles[row] for row in (0, 1, 2, 5)] == ["train", "test", "train", "validation"]
    assert sorted(roles[row] for row in (3, 4)) == ["test", "train"]


def test_a_published_role_is_the_only_one() -> None:
    people = [
        Person("ann", fixed={"reference": [0], "probe": [1, 2, 3]}),
        Person("bob", fixed={"reference": [4], "probe": [5]}),
        Person("cid", fixed={"distractor": [6, 7]}),
        Person("dan", [8]),
        Person("eve", fixed={"auxiliary": [9, 10]}),
    ]
    roles = assign_roles(people, [str(row) for row in range(11)], BASE, Opened())
    assert roles == {
        0: "reference", 1: "probe", 2: "probe", 6: "distractor", 8: "distractor", 9: "auxiliary", 10: "auxiliary"
    }  # fmt: skip


def test_a_protocol_may_give_a_person_one_probe_and_nothing_else() -> None:
    people = [Person("ann", fixed={"probe": [0]}), Person("bob", fixed={"probe": [1]}), Person("cid", [2])]
    roles = assign_roles(people, list("abc"), rule(references_per_identity=0), Opened(unusable=[1]))
    assert roles == {0: "probe", 2: "distractor"}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("probes_per_identity", 1, "probes_per_identity is 1: it must be at least 2"),
        ("max_identities", 0, "max_identities is 0: it must be at least 1"),
        ("max_distractors", -1, "max_distractors is -1"),
        ("test_share", 1.0, "test_share is 1.0: it must lie between"),
        ("test_split", "random", "use per_identity or by_identity"),
    ],
)
def test_values_out_of_range(option: str, value: object, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        rule(**{option: value})
