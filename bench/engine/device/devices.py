"""Devices of a run: where its workers compute, how many workers that makes, and what cannot be had here."""

from __future__ import annotations

import torch
from omegaconf import DictConfig

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.machine import checked_device
from cloakbench.bench.processes.pool import available_cores

_GPU = "cuda"


def devices_of(config: DictConfig) -> tuple[str, ...]:
    """Names of the devices, ``cuda:0`` and so on where there are several; workers take turns in choosing one."""
    numbers = config.runtime.devices
    if numbers is None:
        return (str(config.runtime.device),)
    return tuple(f"{_GPU}:{number}" for number in (range(torch.cuda.device_count()) if numbers == "auto" else numbers))


def processes_of(config: DictConfig) -> int:
    """Worker processes; 0 for work inside this one. ``auto`` is one per core, and on GPUs one per device: a single
    device needs no process beside this one."""
    workers, devices = config.runtime.workers, devices_of(config)
    if workers != "auto":
        return int(workers)
    if torch.device(devices[0]).type == "cpu":
        return available_cores()
    return len(devices) if len(devices) > 1 else 0


def check_devices(config: DictConfig) -> None:
    """Look at the devices, the precision and the workers that an experiment wants.

    Raises:
        ConfigError: one cannot be had on this machine, or two settings contradict each other; one line.
    """
    runtime = config.runtime
    device = checked_device(runtime.device)
    if runtime.devices is not None:
        _check_several(config)
    if runtime.precision == "tf32" and device.type != _GPU:
        raise ConfigError(
            f"runtime.precision is tf32: only CUDA devices compute so; on {device} it can be fp32 or bf16"
        )
    if runtime.compile and device.type != _GPU:
        raise ConfigError(
            f"runtime.compile is true: only CUDA devices run compiled networks, and runtime.device is {device}"
        )


def _check_several(config: DictConfig) -> None:
    runtime = config.runtime
    given = runtime.devices if runtime.devices == "auto" else list(runtime.devices)
    if str(runtime.device) != _GPU:
        raise ConfigError(
            f"runtime.devices is {given}: it numbers CUDA devices, and runtime.device is {runtime.device} (runtime=gpu)"
        )
    count = torch.cuda.device_count()
    if given != "auto" and (beyond := [number for number in given if number >= count]):
        present = "0" if count == 1 else f"0 to {count - 1}"
        raise ConfigError(f"runtime.devices names {beyond[0]}: this machine has {count} CUDA devices ({present})")
    names = devices_of(config)
    if runtime.workers != "auto" and runtime.workers < len(names) > 1:
        raise ConfigError(
            f"runtime.workers is {runtime.workers}: {len(names)} devices need a process each (runtime.workers=auto)"
        )
    for name in names:
        checked_device(name, "runtime.devices")
