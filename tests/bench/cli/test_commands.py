"""The commands beside the experiments: what they list, diagnose and check."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloakbench.bench.cli.main import main

CONF = Path(__file__).parents[3] / "conf"
CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"


@pytest.mark.parametrize(
    "group",
    ["models", "attribute_models", "dataset", "generators", "experiments", "runtime", "loggers", "services"],
)
def test_list_names_every_file_of_the_group(capsys: pytest.CaptureFixture[str], group: str) -> None:
    assert main(["list", group]) == 0
    shown = capsys.readouterr().out
    for path in (CONF / group.removesuffix("s")).glob("*.yaml"):
        assert path.stem in shown
    if group == "services":
        assert_services_say_what_they_offer(shown)


def assert_services_say_what_they_offer(shown: str) -> None:
    """Where the address is one's own to set, too."""
    rows = {line.split()[0]: " ".join(line.split()) for line in shown.splitlines() if line.strip()}
    assert rows["azure"].startswith("azure Azure AI Face compare, search") and "attributes" not in rows["azure"]
    assert "azure: set line.base_url" in " ".join(shown.split()) and "unset.invalid" not in shown


def test_list_alone_names_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for folder in CONF.iterdir():
        assert not folder.is_dir() or folder.name == "__pycache__" or folder.name in shown


@pytest.mark.slow
def test_doctor_says_what_each_experiment_lacks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two presets; tests/bench/doctor/test_doctor.py looks at all of them."""
    from cloakbench.bench.cli import doctor

    presets, options = ["real_faces", "smoke"], doctor.group_options
    monkeypatch.setattr(
        doctor, "group_options", lambda group, dirs: presets if group == "experiment" else options(group, dirs)
    )
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(tmp_path))
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    lines = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert "ready" in lines["smoke"]
    assert "not yet" in lines["real_faces"]
    assert "dataset.root" in shown


def test_check_holds_a_recogniser_against_its_contract_and_skips_what_needs_faces(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "model=tiny1", "--config-dir", str(CONFIG_DIR)]) == 0
    shown = capsys.readouterr().out
    rows = {line[:33].strip(): line for line in shown.splitlines()}
    assert "passed" in rows["gradient to the input"]
    assert "skipped" in rows["clean Top-1"]
    assert "no faces at hand" in shown
    assert main(["check", "model=refusing", "--config-dir", str(CONFIG_DIR)]) == 1
    assert "this network never answers" in " ".join(capsys.readouterr().out.split())


def test_check_runs_the_conformance_suite(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "method=identity"]) == 0
    assert "failed" not in capsys.readouterr().out
    assert main(["check", "method=raises", "--config-dir", str(CONFIG_DIR)]) == 1
    assert "failed" in capsys.readouterr().out


@pytest.mark.slow
def test_check_holds_a_generator_against_its_contract_with_the_settings_that_are_typed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "generator=augment", "generator.crop=0.1"]) == 0
    assert "each photo for itself" in capsys.readouterr().out
    assert main(["check", "generator=planted", "generator.fault=not_finite", "--config-dir", str(CONFIG_DIR)]) == 1
    assert "not finite" in capsys.readouterr().out


@pytest.mark.slow
def test_check_all_goes_on_after_a_failure_and_skips_what_lacks_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cloakbench.bench.cli import check

    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(tmp_path))
    names = {
        "method": ["identity", "lowkey_lpips", "precomputed", "raises", "random_sign"],
        "model": ["tiny1", "arcface_ir", "ir152"],
        "attribute_model": [],
        "generator": ["augment", "arc2face"],
    }
    monkeypatch.setattr(check, "group_options", lambda group, _: names[group])
    assert main(["check", "all", "--config-dir", str(CONFIG_DIR)]) == 1
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if len(line.split()) > 2}
    for name, told in {
        "identity": "passed",
        "random_sign": "passed",
        "arcface_ir": "passed",
        "raises": "failed",
        "augment": "passed",
    }.items():
        assert told in lines[name]
    assert "skipped" in lines["lowkey_lpips"] and "alexnet-owt-7be5be79.pth" in lines["lowkey_lpips"]
    assert "skipped" in lines["precomputed"] and "method.folder=..." in lines["precomputed"]
    assert "skipped" in lines["arc2face"] and "arcface.onnx" in lines["arc2face"]
    assert "ir152" not in lines
    names |= {"method": ["identity", "precomputed"], "model": [], "generator": []}
    assert main(["check", "all"]) == 0
