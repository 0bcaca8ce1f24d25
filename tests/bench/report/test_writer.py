"""The report folder: complete, equal for equal results, honest about failures."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cloakbench.bench.report.writer import write_report
from cloakbench.bench.store.errors import StoreError


@pytest.fixture(scope="module")
def run(make_results):
    return make_results(methods=("fgsm", "ti_dim", "vmi_fgsm"), transforms=("jpeg_75", "jpeg_50"))


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(run, folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_equal_results_give_equal_bytes_whatever_their_order_and_times(run, folder, tmp_path):
    shuffled = run.measurements.sample(frac=1, random_state=7)
    slower = run.costs.assign(seconds_per_image=run.costs["seconds_per_image"] * 3)
    files = write_report(replace(run, measurements=shuffled, costs=slower), tmp_path)
    timing = {str(path.relative_to(tmp_path)) for path in files.timing}
    first, second = contents(folder), contents(tmp_path)
    assert first.keys() == second.keys()
    assert (
        {name for name in first if first[name] != second[name]}
        == timing
        == {f"tables/cost.{s}" for s in ("md", "csv", "tex")}
    )


def test_every_link_of_the_report_leads_to_a_file(folder):
    report = (folder / "report.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", report)
    assert len(links) > 30
    assert all((folder / link).is_file() for link in links)
    written = {name for name in contents(folder) if not name.startswith(("report.", "gallery/"))}
    assert written - set(links) == {"tables/cost.tex"}


def test_sections_come_in_reading_order(folder):
    headings = re.findall(r"^## (.*)$", (folder / "report.md").read_text(), re.MULTILINE)
    assert headings == [
        "Findings",
        "Contents",
        "Setup",
        "Warnings",
        "Ranking",
        "Recognisers",
        "Methods",
        "Identification",
        "Transfer",
        "Robustness",
        "Verification",
        "Picture quality",
        "Reported beside measured",
        "Cost",
        "Failures and gaps",
        "Also measured",
        "What the numbers do and do not mean",
    ]


def test_failures_are_listed(folder):
    failures = (folder / "report.md").read_text().split("## Failures")[1]
    assert re.search(r"VMI-FGSM +\| 4 .*senet.*target_failed.*senet returned NaN", failures)
    assert re.search(r"TI-DIM +\| 8 .*ir50.*some photos failed +\| 3 ", failures)
    assert not re.search(r"unavailable|lpips", failures.split("**Not available.**")[0])
    assert re.search(r"lpips.*LPIPS weights not found", failures.split("**Not available.**")[1])
    assert re.search(r"FGSM +\| 4 .*cosface +\| sface.*not measured", failures)


def test_no_failures_is_said_too(small, tmp_path):
    write_report(small, tmp_path)
    assert "None: every planned cell has a value." in (tmp_path / "report.md").read_text()
    assert "Figure budget left out: the run has fewer than 3 budgets." in (tmp_path / "report.md").read_text()


def test_methods_that_depart_from_their_name_say_so_in_the_warnings(small, tmp_path):
    methods = small.methods.assign(notes=["" if key != "pgd" else "half the steps" for key in small.methods["key"]])
    write_report(replace(small, methods=methods), tmp_path)
    assert "- PGD: half the steps.\n" in (tmp_path / "report.md").read_text().split("## Recognisers")[0]


def test_nan_is_never_printed_as_a_number(folder):
    for name, content in contents(folder).items():
        if name.endswith((".md", ".csv", ".tex")):
            text = content.decode().replace("senet returned NaN", "")
            assert not re.search(r"\bnan\b", text, re.IGNORECASE), name


def test_measurements_carry_their_interval_and_status(folder, run):
    lines = (folder / "tables" / "measurements.csv").read_text().splitlines()
    assert len(lines) == len(run.measurements) + 1
    assert lines[0].startswith("protocol,metric,method,variant,epsilon_255,surrogate,judge,condition,value,low,high,n,")


def test_failed_write_keeps_the_old_file_and_no_rest(small, tmp_path, monkeypatch):
    write_report(small, tmp_path)
    before = contents(tmp_path)

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StoreError, match="the disk is full: free some space") as caught:
        write_report(replace(small, name="another"), tmp_path)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before
