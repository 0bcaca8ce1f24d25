"""What ``cloakbench perf`` says: bars, spread, and work that is what it claims to be. Nothing here is timed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

from cloakbench.bench.cli import perf
from cloakbench.bench.cli.perf import main, ratio_table
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.perf import timing
from cloakbench.bench.perf.faces import MappedFaces
from cloakbench.bench.perf.peers import _hull_points
from cloakbench.bench.perf.timing import Ratio, compare, grow
from cloakbench.bench.store.errors import StoreError
from cloakbench.methods.parts.hulls import convex_weights

CPU = torch.device("cpu")


def test_a_ratio_is_the_median_over_turns_by_size() -> None:
    row = Ratio("x", 1.1, [10.0, 40.0, 33.0], [1.0, 2.0, 3.0], scale=10)
    assert row.ratios == pytest.approx((1.0, 1.1, 2.0))
    assert row.ratio == pytest.approx(1.1)
    assert not row.missed
    assert Ratio("x", 1.0, [10.0, 40.0, 33.0], [1.0, 2.0, 3.0], scale=10).missed
    assert Ratio("x", 1.0, note="not installed").ratio is None


def test_memory_that_grows_misses_its_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([100.0, 131.0, 100.0, 129.0, 100.0, 500.0])
    monkeypatch.setattr(timing, "added_peak_mib", lambda mark: next(peaks))
    monkeypatch.setattr(timing, "mark_memory", lambda: None)
    monkeypatch.setattr(timing, "_seconds", lambda work, device: 1.0)
    rows = [grow("x", int, int, 1, 1, CPU, memory_grows=grows) for grows in (False, False, True)]
    assert [row.missed for row in rows] == [True, False, False]
    assert rows[2].ours_mib == 500


def test_the_second_of_a_pair_goes_first_in_the_next() -> None:
    order: list[str] = []
    row = compare("x", lambda: order.append("ours"), lambda: order.append("other"), 2, CPU, bar=1.0)
    assert order == ["ours", "other", "ours", "other", "other", "ours"]
    assert len(row.ratios) == 2


def test_the_solver_of_one_person_finds_the_points_that_ours_finds() -> None:
    stream = torch.Generator().manual_seed(0)
    clean = F.normalize(torch.randn(6, 16, generator=stream), dim=-1)
    masked = F.normalize(clean + 0.5 * torch.randn(6, 16, generator=stream), dim=-1)
    weights = convex_weights(clean[None], masked[None])[0]
    torch.testing.assert_close(_hull_points(masked, clean), (weights @ clean.double()).float(), atol=1e-3, rtol=0)


def test_mapped_faces_are_the_same_whoever_reads_them(tmp_path: Path) -> None:
    data = MappedFaces(3, str(tmp_path))
    probes, again = data.faces("probe"), MappedFaces(3, str(tmp_path)).faces("probe")
    assert torch.equal(probes.images, again.images)
    assert probes.identity == ("person0", "person0", "person1", "person1", "person2", "person2")
    assert len(data.faces("distractor")) == 100
    assert not set(data.faces("distractor").identity) & set(probes.identity)


def test_sections_are_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="only: there is no section loop: name some of networks, loops,"):
        main(["only=[loop]"])


def test_sections_are_saved_with_what_they_were_measured_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Ratio("ours / theirs", 1.0, [1.0, 3.0], [2.0, 2.0], note="with, a comma")
    monkeypatch.setattr(perf, "_rows", lambda section, config: iter([row]))
    assert main(["only=[peers]", f"save={tmp_path}/new"]) == 0
    [saved] = pd.read_csv(tmp_path / "new" / "peers.csv").to_dict("records")
    assert (saved["ratio"], saved["lowest_ratio"], saved["highest_ratio"]) == (1.0, 0.5, 1.5)
    assert (saved["name"], saved["note"], saved["photos"]) == ("ours / theirs", "with, a comma", 32)
    environment = json.loads((tmp_path / "new" / "environment.json").read_text())
    assert environment["packages"]["torch"] == version("torch")
    assert environment["device"] == "cpu"


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(section: str, config: object) -> Iterator[Ratio]:
        raise AssertionError("nothing is measured")

    monkeypatch.setattr(perf, "_rows", rows)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match=r"taken.*save"):
        main(["only=[peers]", f"save={tmp_path}/taken"])


def test_80_columns_hold_every_cell_of_a_section() -> None:
    rows = [
        Ratio("training", 1.0, ours_mib=3247, other_mib=12, mib_bar=3072),
        Ratio("EOT ensemble / bare passes, attributes_resnet18", 1.05, ours_seconds=[62.3], other_seconds=[31.15]),
    ]
    text = io.StringIO()
    Console(file=text, width=80).print(ratio_table("Loops", rows))
    said = [line.split("│")[1:-1] for line in text.getvalue().splitlines() if "│" in line]
    columns = ["".join(cell.strip() for cell in cells) for cells in zip(*said, strict=True)]
    assert "attributes_resnet18" in columns[0] and columns[1:4] == ["-62.300 / 31.150", "-2.000", "-<= 1.05"]
    assert columns[4].count("MISSED") == 2 and "(bar3072)" in columns[4].replace(" ", "")


@pytest.mark.slow
def test_growth_of_small_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    main(["people=2", "repeats=1", "growth=2", "only=[growth]"])
    said = " ".join(capsys.readouterr().out.split())
    for what in ("experiment", "nothing left", "probes", "gallery", "records"):
        assert what in said
