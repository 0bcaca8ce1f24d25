"""Systems without weights here: each says what it needs, and is a row of a paper."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cloakbench.bench.report.reported.pairings import load_pairings
from cloakbench.bench.report.reported.printed import ReportedSchemaError, load_survey_table
from cloakbench.bench.report.reported.systems import foreign_systems

ROOT = Path(__file__).parents[4]


def test_every_system_whose_weights_cannot_be_had_says_what_it_needs() -> None:
    systems, names = foreign_systems(), load_pairings().names
    reported = {
        key
        for pairing in load_pairings().tables.values()
        for key, why in pairing.why_not.items()
        if why.startswith("weights not to be had")
    }
    by_other_means = {"deepprivacy", "zhang_visual_privacy"}  # a small version; a framework around CollDiff
    assert reported - by_other_means <= set(systems)
    assert all(systems[key].title == names[key] for key in reported & set(systems))
    rows = {line[columns[0]] for columns, lines in map(load_survey_table, (1, 2)) for line in lines}
    assert {system.survey for system in systems.values() if system.survey} <= rows
    assert not {path.stem for path in (ROOT / "conf" / "method").glob("*.yaml")} & set(systems)


def test_the_page_names_each_of_them() -> None:
    page = (ROOT / "docs" / "other-systems.md").read_text(encoding="utf-8")
    for system in foreign_systems().values():
        assert f"| {system.title} | {system.repository} | {system.licence} | {system.needs} |" in page


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"title": "A", "repository": "a/b", "licence": "MIT"}, "one must have licence, needs, repository, title"),
        ({"title": "A", "repository": "a/b", "licence": "MIT", "needs": " "}, "one: needs must be words"),
    ],
)
def test_a_broken_entry_is_one_line(entry: dict[str, str], words: str, tmp_path: Path) -> None:
    (tmp_path / "systems.yaml").write_text(yaml.safe_dump({"one": entry}))
    with pytest.raises(ReportedSchemaError, match=words) as problem:
        foreign_systems(tmp_path)
    assert "\n" not in str(problem.value)
