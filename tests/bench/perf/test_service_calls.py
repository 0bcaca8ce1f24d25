"""What `perf` says of services: rows of work that was done. Nothing here is timed."""

from __future__ import annotations

import pytest

from cloakbench.bench.perf.service_calls import ADDED_SECONDS, READ_SECONDS, service_calls


@pytest.mark.slow
def test_questions_are_held_against_the_bare_client_and_what_they_may_add() -> None:
    asked, read = service_calls(repeats=2, stored=20)
    assert len(asked.ratios) == 2 and asked.bar == read.bar == 1.0
    assert "325 questions" in asked.note
    assert all(other > 325 * ADDED_SECONDS for other in asked.other_seconds)
    assert list(read.other_seconds) == [20 * READ_SECONDS] and read.name.startswith("20 stored answers")
