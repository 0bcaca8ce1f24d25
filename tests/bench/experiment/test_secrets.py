"""A run, a failing run and the commands beside it, with secrets planted in addresses, environment and config: nothing
that they print or leave holds one of them."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import pytest
import torch
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cloakbench.bench.cli.main import main
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.kept import strip_kept_sweep
from cloakbench.bench.doctor.preflight import Presets, missing_parts, protocols_of
from cloakbench.bench.store.store import Store
from cloakbench.models import transfer
from cloakbench.models.backbones.mobilefacenet import MobileFaceNet

SUPPORT = Path(__file__).parents[2] / "support" / "conf"
SECRETS = ("planteduser", "plantedpassword", "plantedtoken", "plantedsignature", "plantedwandbkey", "plantedhftoken")
SECRETS += ("plantedawssecret", "plantedsetting")


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "werkzeug")  # the server of the test logs what it was asked
    monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.0)
    for switch in ("CLOAKBENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(switch, raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "plantedwandbkey")
    monkeypatch.setenv("HF_TOKEN", "plantedhftoken")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "plantedawssecret")


@pytest.fixture
def words(httpserver: HTTPServer, tmp_path: Path) -> list[str]:
    """A target whose first address is gone and whose second one moved to a signed address."""
    torch.manual_seed(0)
    torch.save(MobileFaceNet().state_dict(), tmp_path / "source.pth")
    content = (tmp_path / "source.pth").read_bytes()
    (tmp_path / "source.pth").unlink()

    def serve(request: Request) -> Response:
        login = base64.b64encode(b"planteduser:plantedpassword").decode()
        sound = request.headers.get("Authorization") == f"Basic {login}" and "plantedsignature" in request.url
        return Response(content if sound else b"no", 200 if sound else 403)

    signed = {"Location": "/net.pth?signature=plantedsignature"}
    httpserver.expect_request("/gone").respond_with_response(Response("", "404 no plantedtoken here"))
    httpserver.expect_request("/moved").respond_with_response(Response("", 302, signed))
    httpserver.expect_request("/net.pth").respond_with_handler(serve)
    host = f"http://planteduser:plantedpassword@{httpserver.host}:{httpserver.port}"
    network = "cloakbench.models.backbones.mobilefacenet.MobileFaceNet"
    target = [
        "model@target=checkpoint",
        "target.name=mine",
        f"target.weights.path={tmp_path}/weights/net.pth",
        f"target.weights.urls=['{host}/gone?token=plantedtoken','{host}/moved?token=plantedtoken']",
        f"target.network._target_={network}",
        "target.card.family=mine",
        f"target.card.page='{host}/page?token=plantedtoken'",
        "target.inputs.mean=0.5",
        "target.inputs.std=0.5",
    ]
    return ["experiment=tiny", "method=fgsm", *target, f"paths.results={tmp_path}/results", "runtime.workers=0"]


def leaks(folder: Path, *texts: str) -> list[str]:
    """Where a secret stands: in which file or in which printed text."""
    found = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found |= {f"text {place}": text.encode() for place, text in enumerate(texts)}
    return [
        f"{secret} in {name}" for name, content in found.items() for secret in SECRETS if secret.encode() in content
    ]


def test_a_run_leaves_and_prints_no_secret(
    words: list[str], tmp_path: Path, faces_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["description='by ${oc.env:WANDB_API_KEY}'", f"paths.cache={faces_cache}"]
    more += ["protocols.quality.image_metrics.lpips.path='https://planteduser:plantedpassword@h/x?y=plantedsetting'"]
    status = main([*words, *more, "--config-dir", str(SUPPORT)])
    said = capsys.readouterr()
    assert status == 0, said.err
    assert (tmp_path / "weights" / "net.pth").is_file(), "the full address was used"
    [run] = (tmp_path / "results" / "runs").iterdir()
    assert "/moved" in (run / "config.yaml").read_text(encoding="utf-8"), "addresses stay, without their secrets"
    assert leaks(tmp_path, said.out, said.err) == []


def test_errors_and_diagnoses_print_no_secret(
    words: list[str], tmp_path: Path, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    httpserver.clear()
    httpserver.expect_request("/moved").respond_with_response(Response("", "500 plantedtoken"))
    assert main([*words, "--config-dir", str(SUPPORT)]) == 1
    assert main(["fetch", "model=checkpoint", *(word.replace("target.", "model.") for word in words[3:10])]) == 1
    assert main([*words, "model.hf_token=plantedsetting"]) == 1
    planted = [
        "target.weights.path=/nowhere/x.pth",
        *words[:2],
        *(word for word in words[2:] if "weights.path" not in word),
    ]
    config = compose_config(planted, config_dirs=[str(SUPPORT)])
    [missing] = [
        str(part) for part in missing_parts(config, Presets((), ()), protocols_of(config), ()) if "mine" in str(part)
    ]
    assert f"the run fetches http://{httpserver.host}" in missing
    said = capsys.readouterr()
    assert leaks(tmp_path / "results", said.out, said.err, missing) == []


def test_the_store_keeps_inputs_without_secrets(tmp_path: Path) -> None:
    store = Store(tmp_path)
    inputs = {"config": {"api_key": "plantedsetting", "url": "http://planteduser:x@h/?t=plantedtoken", "steps": 3}}
    store.write_tensors("trained", "a" * 32, {"x": torch.zeros(2)}, inputs, "note")
    photos = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    store.write_photos("protected", "b" * 32, photos, ["p/0"], {"inputs": inputs, "status": ["ok"]})
    store.write_json("failures", "c" * 32, {"reason": "https://planteduser:plantedpassword@h/x: plantedhftoken"})
    assert leaks(tmp_path) == []
    about = store.read_about("protected", "b" * 32)
    assert about is not None
    assert (about["status"], about["inputs"]["config"]["steps"]) == (["ok"], 3)


def test_what_hydra_keeps_of_a_sweep_is_stripped(tmp_path: Path) -> None:
    kept = tmp_path / "multirun.yaml"
    kept.write_text(
        "a: {token: plantedsetting}\nb: http://planteduser:plantedpassword@h/x\nc: ${a}\n", encoding="utf-8"
    )
    strip_kept_sweep(tmp_path)
    assert leaks(tmp_path) == []
    assert "http://h/x" in kept.read_text(encoding="utf-8")
    strip_kept_sweep(tmp_path / "none")
