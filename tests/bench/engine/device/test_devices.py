"""Devices of a run: which ones, how many workers, and one line for what is not there. The GPUs are only counted."""

from __future__ import annotations

import pytest
import torch
from omegaconf import DictConfig

from cloakbench.bench.config.checks.setting_checks import check_settings
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.engine.device import devices
from cloakbench.bench.engine.device.devices import check_devices, devices_of, processes_of
from cloakbench.bench.processes.pool import available_cores


def composed(*words: str) -> DictConfig:
    return compose_config(["experiment=smoke", *words])


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("cloakbench.bench.core.machine._try_out", lambda device, setting: None)


@pytest.mark.parametrize(
    ("words", "names", "processes"),
    [
        ((), ("cuda",), 0),
        (("runtime.devices=auto",), ("cuda:0", "cuda:1"), 2),
        (("runtime.devices=[1]",), ("cuda:1",), 0),
        (("runtime.devices=[1,0]",), ("cuda:1", "cuda:0"), 2),
        (("runtime.devices=[0,1]", "runtime.workers=4"), ("cuda:0", "cuda:1"), 4),
        (("runtime.device=cuda:1", "runtime.workers=1"), ("cuda:1",), 1),
    ],
)
@pytest.mark.usefixtures("two_cards")
def test_each_device_has_a_worker(words: tuple[str, ...], names: tuple[str, ...], processes: int) -> None:
    config = composed("runtime=gpu", *words)
    check_settings(config)
    check_devices(config)
    assert devices_of(config) == names
    assert processes_of(config) == processes


def test_a_cpu_has_a_worker_for_each_core() -> None:
    assert devices_of(composed()) == ("cpu",)
    assert processes_of(composed()) == available_cores()
    assert processes_of(composed("runtime.workers=0")) == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("runtime=gpu", "runtime.devices=[0,2]"),
            r"^runtime.devices names 2: this machine has 2 .*\(0 to 1\)$",
        ),
        (("runtime.devices=[0,1]",), r"^runtime.devices is \[0, 1\]: .* runtime.device is cpu \(runtime=gpu\)$"),
        (("runtime.devices=auto",), r"^runtime.devices is auto: .* runtime.device is cpu \(runtime=gpu\)$"),
        (("runtime=gpu", "runtime.device=cuda:1", "runtime.devices=[0]"), r"^runtime.devices is \[0\]: .* cuda:1 "),
        (
            ("runtime=gpu", "runtime.devices=auto", "runtime.workers=1"),
            r"^runtime.workers is 1: 2 devices need a process",
        ),
        (("runtime=gpu", "runtime.devices=[0,1]", "runtime.workers=0"), r"^runtime.workers is 0: 2 devices need"),
        (("runtime.precision=tf32",), r"^runtime.precision is tf32: only CUDA .* on cpu it can be fp32 or bf16$"),
        (("runtime.compile=true",), r"^runtime.compile is true: only CUDA devices .* runtime.device is cpu$"),
    ],
)
@pytest.mark.usefixtures("two_cards")
def test_what_cannot_be_had_is_one_line(words: tuple[str, ...], line: str) -> None:
    config = composed(*words)
    check_settings(config)
    with pytest.raises(ConfigError, match=line):
        check_devices(config)


@pytest.mark.parametrize("words", [(), ("runtime.devices=auto",), ("runtime.devices=[0,1]",)])
def test_a_gpu_run_on_a_machine_without_one_is_one_line(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"^runtime.device is cuda: [^\n]*\(runtime=cpu\)$"):
        check_devices(composed("runtime=gpu", *words))


def test_a_device_that_is_kept_by_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    def checked(name: object, setting: str = "runtime.device") -> torch.device:
        if str(name) == "cuda:1":
            raise ConfigError(f"{setting} is {name}: it cannot be used")
        return torch.device(str(name))

    monkeypatch.setattr(devices, "checked_device", checked)
    with pytest.raises(ConfigError, match=r"^runtime.devices is cuda:1: it cannot be used$"):
        check_devices(composed("runtime=gpu", "runtime.devices=auto"))


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("runtime.precision=fp16", "runtime.precision is fp16: it must be one of fp32, tf32, bf16"),
        ("runtime.devices=2", r"runtime.devices is 2: it must be null, or auto, or a list of numbers of CUDA devices"),
        ("runtime.devices=[0,0]", r"runtime.devices is \[0, 0\]: it must be .* each once"),
        ("runtime.devices=[]", r"runtime.devices is \[\]: it must be"),
        ("runtime.compile=1", "runtime.compile is 1: it must be true or false"),
    ],
)
def test_another_kind_of_value_is_refused(word: str, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        check_settings(composed(word))
