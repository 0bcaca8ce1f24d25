"""`evaluate`: an experiment in one call, with the store, keys and bytes of the command line."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from cloakbench.bench.core.code_digests import forget_sources
from cloakbench.bench.engine.protocol import Protocol
from cloakbench.bench.engine.transforms import Transform
from cloakbench.bench.experiment.run import run
from cloakbench.bench.python.composing import ConfigDirs, compose_experiment, config_folders
from cloakbench.bench.python.spelling import spelled_in_python
from cloakbench.bench.report.results import Results
from cloakbench.datasets.base import Dataset, FaceSet
from cloakbench.methods.base import Protector
from cloakbench.models.attributes import AttributeModel
from cloakbench.models.base import Recogniser
from cloakbench.models.generators import Generator

log = logging.getLogger(__name__)

Block = Mapping[str, Any]
"""``{"_target_": class or path, setting: value, ...}``"""
Methods = str | Protector | Sequence[str | Protector] | Mapping[str, str | Protector | Block]
Recognisers = str | Recogniser | Sequence[str | Recogniser] | Mapping[str, str | Recogniser | Block]
AttributeModels = str | AttributeModel | Sequence[str | AttributeModel] | Mapping[str, str | AttributeModel | Block]
Protocols = str | Protocol | Sequence[str | Protocol] | Mapping[str, str | Protocol | Block]
Transforms = str | Transform | Sequence[str | Transform] | Mapping[str, str | Transform | Block]
Faces = str | os.PathLike[str] | Dataset | Mapping[str, FaceSet]


def evaluate(
    methods: Methods | None = None,
    surrogates: Recognisers | None = None,
    targets: Recognisers | None = None,
    faces: Faces | None = None,
    protocols: Protocols | None = None,
    *,
    budgets_255: Sequence[float] | None = None,
    transforms: Transforms | None = None,
    attribute_surrogates: AttributeModels | None = None,
    attribute_targets: AttributeModels | None = None,
    attribute_task: str | Block | None = None,
    generator: str | Generator | Block | None = None,
    seed: int | None = None,
    results: str | os.PathLike[str] | None = None,
    device: str | None = None,
    workers: int | None = None,
    experiment: str | None = None,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    config_dir: ConfigDirs = (),
) -> Results:
    """Protect photos with methods, ask judges about them, measure.

    Parts are named, as ``cloakbench list`` prints them, or handed over; a mapping gives each a key of its own. What is
    in the store is not computed again, by whatever command or call it was made: a call that was interrupted goes on
    when it is made again.

    Args:
        methods: protection methods. One of your own must lie in a module file and keep the arguments of its
            constructor as attributes, which with the code make its key.
        surrogates: recognisers whose gradients methods may use.
        targets: recognisers who judge. One around a network of your own is known by weights, settings and code.
        faces: name of a data set, folder ``root/<person>/<photo>``, a `Dataset`, or a `FaceSet` for each role.
        protocols: what is asked; default: identification, verification, quality.
        budgets_255: in grey levels, for all methods that have one; default: their own.
        transforms: what happens to photos after they are published.
        attribute_surrogates: attribute networks whose gradients methods may use.
        attribute_targets: attribute networks who judge, for protocol ``attributes``.
        attribute_task: what attribute networks are asked.
        generator: makes other pictures of people from one photo, for methods that need them.
        seed: names every random stream.
        results: folder of store and runs; default: ``results``, or ``CLOAKBENCH_RESULTS``.
        device: such as ``cuda``.
        workers: processes; 0 works in this one. Default: one per core, or per GPU. No number changes a result.
        experiment: a preset to start from; every list that is given replaces that of the preset.
        name: of the run.
        settings: further settings by dotted name, such as ``{"dataset.identities": 20}``.
        config_dir: one or several folders of your own configs.

    Returns:
        The results, whose frames (``measurements``, ``costs``, ...) hold every number; failures are rows with a status
        and lines of ``problems``.

    Raises:
        ConfigError: something cannot be, such as a name that does not exist; one line that lists what there is.
        StoreError, MachineError: disk, device or memory failed; finished work is kept.

    Example:
        >>> import cloakbench
        >>> few = {"dataset.identities": 4, "dataset.distractors": 20, "dataset.impostor_identities": 20}
        >>> results = cloakbench.evaluate(
        ...     methods="pgd",
        ...     surrogates="cosface_ir",
        ...     targets=["arcface_mobilefacenet"],
        ...     faces="synthetic",
        ...     budgets_255=[8],
        ...     settings=few,
        ... )
        >>> sorted(results.measurements["method"].unique())
        ['identity', 'pgd', 'random_sign']
        >>> results.report("my_report").name
        'report.md'
    """
    lists = {
        "methods": methods,
        "surrogates": surrogates,
        "targets": targets,
        "attribute_surrogates": attribute_surrogates,
        "attribute_targets": attribute_targets,
        "transforms": transforms,
        "protocols": protocols,
    }
    scalars = {
        "name": name or (None if experiment else "evaluate"),
        "epsilons_255": None if budgets_255 is None else list(budgets_255),
        "seed": seed,
        "paths.results": None if results is None else os.fspath(results),
        "runtime.device": device,
        "runtime.workers": workers,
    }
    typed = {key: value for key, value in scalars.items() if value is not None}
    forget_sources()  # in a notebook a module changes between two calls
    with threads_kept(), spelled_in_python():
        folders = config_folders(config_dir)
        outcome = run(
            compose_experiment(
                lists, faces, experiment, {**typed, **(settings or {})}, folders, generator, attribute_task
            )
        )
    for problem in outcome.problems:
        log.warning("%s", problem)
    return replace(outcome.results, problems=tuple(outcome.problems), folder=outcome.folder)


@contextmanager
def threads_kept() -> Iterator[None]:
    """While we work with one thread; the caller's own work then has as many as before."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
