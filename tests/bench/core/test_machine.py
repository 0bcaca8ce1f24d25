"""A failure of the machine ends the run with one line and is not kept; a failure of the method is a stored row."""

from __future__ import annotations

import errno
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.machine import MachineError, checked_device, machine_trouble
from cloakbench.bench.engine.jobs import ProtectJob, do
from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import run
from cloakbench.methods.fgsm import FGSM

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"

MACHINE = (
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore lines"),
    RuntimeError("CUDA error: device-side assert triggered\nCompile with TORCH_USE_CUDA_DSA"),
    RuntimeError("cuBLAS error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"),
    RuntimeError("Found no NVIDIA driver on your system"),
    RuntimeError("unable to write to file </torch_1>: No space left on device (28)"),
    RuntimeError("can't start new thread"),
    AssertionError("Torch not compiled with CUDA enabled"),
    *(OSError(number, "words") for number in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EIO, errno.EROFS)),
    PermissionError(errno.EACCES, "Permission denied", "/a/file"),
    BrokenProcessPool("A process was terminated abruptly"),
)
METHOD = (
    ValueError("too few photos, out of memory of them"),
    RuntimeError("Expected all tensors to be on the same device, but found cuda:0 and cpu!"),
    NotImplementedError("Could not run 'aten::x' with arguments from the 'CUDA' backend"),
    ZeroDivisionError("this method always fails"),
    FileNotFoundError(errno.ENOENT, "No such file", "mask.png"),
    AssertionError(),
)


@pytest.mark.parametrize("problem", MACHINE, ids=repr)
def test_failures_of_the_machine_are_told_in_one_line(problem: Exception) -> None:
    line = machine_trouble(problem)
    assert line and "\n" not in line and "finished work is kept" in line
    wrapped = ValueError("the attack did not work")
    wrapped.__cause__ = problem
    assert machine_trouble(wrapped) == line


@pytest.mark.parametrize("problem", METHOD, ids=repr)
def test_failures_of_a_method_are_its_own(problem: Exception) -> None:
    assert machine_trouble(problem) is None


def test_an_error_that_is_its_own_cause_is_looked_at_once() -> None:
    one, other = ValueError("too few photos"), KeyError("of them")
    one.__cause__, other.__cause__ = other, one
    assert machine_trouble(one) is None


@pytest.mark.parametrize("name", ["foo", "meta", "cuda", "cuda:9", "mps", "cpu:1", "xpu"])
def test_a_device_that_is_not_there_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=rf"^runtime.device is {name}: .*here it can be cpu \(runtime=cpu\)$"):
        checked_device(name)


def test_a_number_too_high_and_a_full_device_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"no device of that number; here it can be cpu, cuda, cuda:0"):
        checked_device("cuda:9")

    def full(*shape: int, device: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "zeros", full)
    with pytest.raises(ConfigError, match=r"cannot be used .*out of memory"):
        checked_device("cuda:0", "device")


def test_the_device_is_looked_at_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"runtime\.device is cuda"):
        run(compose_config(["experiment=smoke", "method=fgsm", "runtime=gpu", f"paths.results={tmp_path}"]))
    assert not list(tmp_path.rglob("*"))


def tiny(overrides: list[str], *more: str) -> DictConfig:
    words = ["method=fgsm", "dataset.distractors=8", "dataset.impostor_identities=4", "~transforms.jpeg"]
    return compose_config([*overrides, *words, *more], config_dirs=[str(CONFIG_DIR)])


def fail_once(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next call of FGSM raise; the time left is not estimated, for which it would be called before."""
    sound = FGSM.perturb
    monkeypatch.setattr("cloakbench.bench.engine.loop.passes_of", lambda cell: None)

    def perturb(self: FGSM, *given: object) -> object:
        monkeypatch.setattr(FGSM, "perturb", sound)
        raise problem

    monkeypatch.setattr(FGSM, "perturb", perturb)


@pytest.mark.parametrize(
    "problem", [MACHINE[1], *(pytest.param(one, marks=pytest.mark.slow) for one in (MACHINE[0], MACHINE[-2]))], ids=repr
)
def test_a_failure_of_the_machine_ends_the_run_and_the_next_one_is_clean(
    problem: Exception, tiny_overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once(problem, monkeypatch)
    with pytest.raises(MachineError) as caught:
        run(tiny(tiny_overrides))
    assert "\n" not in str(caught.value)
    store = Path(tiny(tiny_overrides).paths.store)
    assert not list(store.glob("failures/*/*"))
    assert run(tiny(tiny_overrides)).problems == []


@pytest.mark.slow
def test_an_error_of_the_method_itself_is_a_stored_row(
    tiny_overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once(RuntimeError("shapes do not fit"), monkeypatch)
    assert any("shapes do not fit" in problem for problem in run(tiny(tiny_overrides)).problems)
    assert list(Path(tiny(tiny_overrides).paths.store).glob("failures/*/*"))
    assert run(tiny(tiny_overrides)).problems


def test_a_target_without_memory_ends_the_run_too(tiny_overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = prepare(tiny(tiny_overrides))
    worker = Worker(experiment.spec)
    publication = experiment.publications["probes"]
    job = ProtectJob(publication.units[0][0], experiment.questions(publication, whole_cells=False))

    def no_memory(*given: object) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("cloakbench.bench.engine.device.embedding.embed_in_batches", no_memory)
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        do(worker, job)
    assert not hasattr(caught.value, "__notes__")  # not put aside for the other targets
