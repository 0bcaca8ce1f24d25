"""What ``cloakbench doctor`` finds missing in presets planted for it, and that it fetches nothing."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from cloakbench.bench.cli.doctor import Diagnosis, diagnose, main, where_lacking
from cloakbench.bench.doctor import preflight as needs

MODULE = """
from cloakbench.datasets.listing import Layout, RemoteFile

class Asked(Layout):
    name, page, licence, folder, disk_gib = "asked", "https://example.org/form", "ask", "<id>/<n>.jpg", 12.5

class Given(Asked):
    files = (RemoteFile(("https://example.org/given.zip",), "given.zip", None, True),)

def photo_set(root, layout, name, max_identities, probes_per_identity):
    return object()
"""
MODEL = """# A network in a file.
_target_: cloakbench.models.loading.load_recogniser
name: {name}
weights:
  _target_: cloakbench.models.weight_file.WeightFile
  path: {path}
  urls: {urls}
  member: null
  sha256: {sha256}
  state_key: null
  strip_prefix: ""
network: {{_target_: torch.nn.Identity, _partial_: true}}
inputs: {{_target_: cloakbench.models.base.InputSpec}}
card: {{family: planted, backbone: none, head: none, training_set: none, page: {page}}}
"""
WEIGHTS = "{_target_: cloakbench.models.weight_file.WeightFile, path: /nowhere/g.pth}"
DATASET = """# A data set of the tests.
_target_: planted_data.photo_set
root: {root}
layout: {{_target_: planted_data.{layout}, _partial_: true}}
name: {name}
max_identities: 20
probes_per_identity: 3
"""
EXPERIMENT = """# @package _global_
# Planted.
defaults:
  - /method@methods.pgd: pgd
  - /model@surrogates.one: {model}
  - /model@targets.one: {model}
  - override /dataset: {dataset}
name: planted
description: planted
"""


POISONING = """# @package _global_
defaults:
  - /model@surrogates.one: cosface_ir
  - override /dataset: synthetic_published
  - override /protocol@protocols.poisoning: poisoning_bench
name: planted
description: planted
dataset: {poison_identities: 3, poison_images: 6}
protocols: {poisoning: {surrogates: [one]}}
"""


REMOTE = """# @package _global_
defaults:
  - /method@methods.pgd: pgd
  - /model@surrogates.one: cosface_ir
  - /model@targets.one: cosface_ir
  - /service@services.facepp: facepp
  - /service@services.azure: azure
  - override /dataset: synthetic_small
  - override /protocol@protocols.remote: remote
name: planted
description: planted
methods: {pgd: {epsilon_255: 8}}
services: {azure: {line: {base_url: https://r.cognitiveservices.azure.com}}}
protocols: {remote: {operations: [compare, attributes]}}
"""


class Planted:
    """A folder of config files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model("missing")
        self.dataset("asked", "Asked")

    def _write(self, group: str, name: str, text: str) -> None:
        path = self.folder / group / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def model(self, name: str, urls: str = "[]", sha256: str = "null", page: str = "https://example.org/page") -> Path:
        path = self.folder / f"{name}.pth"
        self._write("model", name, MODEL.format(name=name, path=path, urls=urls, sha256=sha256, page=page))
        return path

    def dataset(self, name: str, layout: str) -> Path:
        self._write("dataset", name, DATASET.format(name=name, layout=layout, root=self.folder / "photos"))
        return self.folder / "photos"

    def experiment(self, model: str = "cosface_ir", dataset: str = "synthetic_small", more: str = "") -> None:
        self._write("experiment", "planted", EXPERIMENT.format(model=model, dataset=dataset) + more)

    def diagnosis(self, measured: bool = False) -> Diagnosis:
        return next(one for one in diagnose([str(self.folder)], measured=measured) if one.name == "planted")

    def blocking(self) -> list[str]:
        return [str(part) for part in self.diagnosis().missing if part.blocking]


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "planted_data.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("CLOAKBENCH_RESULTS", str(tmp_path / "results"))
    # The presets of the project are not what is tested here, and take seconds to compose.
    from cloakbench.bench.cli import doctor

    real = doctor.group_options
    monkeypatch.setattr(
        doctor, "group_options", lambda group, dirs: ["planted"] if group == "experiment" else real(group, dirs)
    )
    return Planted(tmp_path / "conf")


def test_who_is_asked_outside_is_said_with_how_much(planted: Planted) -> None:
    planted._write("experiment", "planted", REMOTE)
    found = {line.partition(" is asked at most ")[0]: line for line in planted.diagnosis().services}
    count = re.search(r"at most (\d+) compare, \1 attributes$", found["Face++ at api-us.faceplusplus.com"])
    assert count is not None and int(count[1]) % 40 == 0 and int(count[1]) >= 4 * 40, "clean, two controls, a method"
    assert found["Azure AI Face at r.cognitiveservices.azure.com"].endswith(f"at most {count[1]} compare")
    assert set(found) - {"Azure AI Face at r.cognitiveservices.azure.com", "Face++ at api-us.faceplusplus.com"} == {
        "local service on this machine"
    }


def test_an_embedded_experiment_is_ready(planted: Planted) -> None:
    planted.experiment()
    found = planted.diagnosis()
    assert found.ready
    assert found.photos == 10 * 4
    assert found.disk_bytes is not None
    assert found.disk_bytes > 3 * 40 * 112 * 112 * 3, "two controls and a method"


def test_weights_with_an_address_are_fetched_by_command_and_never_by_the_doctor(
    planted: Planted, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted.model("missing", urls=f"[{httpserver.url_for('/net.pth')}]")
    planted.experiment("missing")
    assert planted.blocking() == ["weights of missing: cloakbench fetch model=missing"]
    monkeypatch.setenv("CLOAKBENCH_OFFLINE", "1")
    [line] = planted.blocking()
    assert line.startswith("weights of missing (offline: CLOAKBENCH_OFFLINE is set): put them at")
    assert not httpserver.log
    assert not (planted.folder / "missing.pth").exists()


def test_weights_without_an_address_name_the_page_and_the_place(planted: Planted) -> None:
    path = planted.model("missing")
    planted.experiment("missing")
    assert planted.blocking() == [f"weights of missing: put them at {path}, from https://example.org/page"]


def test_weights_that_are_there_are_checked_by_digest(planted: Planted) -> None:
    path = planted.model("present", sha256=hashlib.sha256(b"right").hexdigest())
    planted.experiment("present")
    path.write_bytes(b"right")
    assert planted.blocking() == []
    path.write_bytes(b"wrong")
    [line] = planted.blocking()
    assert "expected" in line


def test_looking_at_weights_without_a_digest_is_not_their_first_use(planted: Planted) -> None:
    planted.model("present").write_bytes(b"weights")
    planted.experiment("present")
    assert planted.blocking() == []
    assert not list(planted.folder.glob("*.json"))


def test_weights_are_found_wherever_an_experiment_names_them(planted: Planted) -> None:
    planted.experiment(
        more=f"extra:\n  generator:\n    name: g\n    weights: {WEIGHTS}\n    _target_: torch.nn.Identity\n"
    )
    assert planted.blocking() == ["weights of g: put them at /nowhere/g.pth"]


def test_embedded_weights_that_were_altered_are_named(planted: Planted, tmp_path: Path) -> None:
    planted.experiment(more=f"surrogates: {{one: {{folder: {tmp_path / 'nowhere'}}}}}\n")
    [line] = planted.blocking()
    assert "make zoo" in line


@pytest.mark.parametrize(
    ("layout", "remedy"),
    [
        ("Asked", "https://example.org/form; put <id>/<n>.jpg there"),
        ("Given", "cloakbench fetch dataset=asked"),
    ],
)
def test_data_that_is_not_there_says_how_it_is_had(planted: Planted, layout: str, remedy: str) -> None:
    root = planted.dataset("asked", layout)
    planted.experiment(dataset="asked")
    assert planted.blocking() == [f"photos in {root} (about 12.5 GiB): {remedy}"]
    assert planted.diagnosis().photos == 60
    (root / "somebody").mkdir(parents=True)
    assert planted.blocking() == []


def test_settings_without_a_value_are_asked_for(planted: Planted) -> None:
    planted.experiment("onnx", "folder")
    lines = planted.blocking()
    assert any(line.startswith("dataset.root is not set: dataset.root=FOLDER") for line in lines)
    assert "surrogates.one.weights.path is not set: surrogates.one.weights.path=..." in lines


def test_extras_that_are_not_installed_are_named(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "find_spec", lambda name: None)
    planted.experiment("mobilefacenet_y1", "folder")
    lines = planted.blocking()
    assert "package onnx: pip install 'cloakbench[onnx]'" in lines
    assert "package facenet_pytorch: pip install 'cloakbench[detect]'" in lines
    planted.experiment(more="extra: {_target_: cloakbench.models.frbench.load_frbench, name: packaged, card: {}}\n")
    assert planted.blocking() == ["package frbench: pip install 'cloakbench[frbench]'"]


def test_room_and_devices_are_looked_at(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.experiment(more="runtime: {device: cuda}\n")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(needs, "free_bytes", lambda _: 1)
    device, disk = planted.blocking()
    assert device == "a CUDA device: runtime=cpu"
    assert disk.startswith("disk: ")
    planted.experiment(more="runtime: {precision: tf32}\n")
    [precision, _] = planted.blocking()
    assert precision == "runtime.precision is tf32: only CUDA devices compute so; on cpu it can be fp32 or bf16"


def test_lpips_without_its_file_is_a_gap_and_no_obstacle(planted: Planted, tmp_path: Path) -> None:
    planted.experiment()
    [gap] = planted.diagnosis().missing
    assert gap.what == "LPIPS"
    (tmp_path / "alexnet.pth").touch()
    path = f"{{lpips: {{path: {tmp_path / 'alexnet.pth'}}}}}"
    planted.experiment(more=f"protocols: {{quality: {{image_metrics: {path}}}}}\n")
    assert planted.diagnosis().missing == []


def test_a_preset_that_does_not_compose_is_a_line(planted: Planted) -> None:
    planted.experiment(model="no_such_model")
    [line] = planted.blocking()
    assert "no_such_model" in line


def test_times_are_measured_on_request(planted: Planted) -> None:
    planted.experiment()
    seconds = planted.diagnosis(measured=True).seconds
    assert seconds is not None
    assert 0 < seconds < 600


@pytest.mark.slow
def test_photos_that_nobody_counted_are_timed_one_by_one(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    planted.experiment(dataset="folder")
    found = planted.diagnosis(measured=True)
    assert found.per_photo and not found.ready
    assert found.seconds is not None and 0 < found.seconds < 10
    assert main(["--config-dir", str(planted.folder)]) == 0
    assert " s/photo" in capsys.readouterr().out


def test_nothing_is_fetched_or_built_for_a_time(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_nothing(*_: object) -> None:
        raise AssertionError("a network was built, whose weights would be fetched first")

    monkeypatch.setattr("cloakbench.bench.doctor.estimate.build_recogniser", build_nothing)
    planted.model("remote", urls="[https://example.org/remote.pth]")
    planted.experiment("missing")
    assert planted.diagnosis(measured=True).unknown == "weights"
    own = "{_target_: cloakbench.models.weight_file.WeightFile, path: /nowhere/g.pth, urls: [https://example.org/g]}"
    planted.experiment(more=f"extra: {{_target_: cloakbench.models.loading.load_recogniser, weights: {own}}}\n")
    found = planted.diagnosis(measured=True)
    assert found.ready and found.unknown == "weights"
    assert planted.diagnosis().unknown == "-"


def test_a_poisoning_alone_has_a_time_too(planted: Planted) -> None:
    planted._write("experiment", "planted", POISONING)
    found = planted.diagnosis(measured=True)
    assert found.ready and found.photos == 3 * 5
    assert found.seconds is not None and found.seconds > 0


@pytest.mark.slow
def test_the_command_prints_a_table_and_ends_well(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    planted.experiment("missing", "asked")
    assert main(["--config-dir", str(planted.folder)]) == 0
    printed = capsys.readouterr().out
    assert "planted" in printed
    assert "not yet" in printed
    assert "a gap in every experiment: LPIPS" in printed
    told = " ".join(printed.split())
    lacking = re.findall(r"missing for generator=(\w+): weights of arc2face: put them at (\S+),", told)
    assert {name for name, _ in lacking} == {"arc2face"}
    files = ["arcface.onnx", "pytorch_model.bin", "diffusion_pytorch_model.safetensors"]
    assert [Path(path).name for _, path in lacking] == [*files, files[-1]]
    with pytest.raises(ValueError, match="time=false"):
        main(["speed=true"])


LACKING = {"real_attributes", "real_faces", "transfer_real", "transfer_search_hard", "transfer_search_real"}


@pytest.mark.slow
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_preset_on_the_embedded_world_is_ready(every: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever has no data or weights of others in it runs on a fresh machine. Presets whose names begin alike differ
    in sizes and settings: the first of each stands for them but in the slow test."""
    from cloakbench.bench.cli import doctor

    presets = doctor.group_options("experiment", ())
    if not every:
        first = {name.partition("_")[0]: name for name in reversed(presets)}
        presets = sorted({*first.values(), *LACKING})
        options = doctor.group_options
        monkeypatch.setattr(
            doctor, "group_options", lambda group, dirs: presets if group == "experiment" else options(group, dirs)
        )
    found = {one.name: one.missing for one in diagnose([], measured=False)}
    assert set(found) == set(presets) and "survey_fig2" in found
    lacking = {name for name, parts in found.items() if any(part.blocking for part in parts)}
    assert lacking == LACKING


def test_what_most_experiments_lack_is_told_by_those_that_do_not() -> None:
    part = needs.Missing("LPIPS", "cloakbench fetch metric=lpips", blocking=False)
    with_gap = [Diagnosis(name, [part]) for name in "abc"]
    without = [Diagnosis(name, []) for name in "de"]
    assert where_lacking(part, with_gap) == "every experiment"
    assert where_lacking(part, with_gap + without) == "every experiment but d, e"
    assert where_lacking(part, with_gap[:2] + without) == "a, b"
