"""CloakBench: a reproducible benchmark harness for facial-image privacy protection.

`evaluate` runs an experiment, `protect` protects photos, `load_method`, `load_recogniser` and `load_generator` build
what a name stands for; the classes are the contracts that an author implements. See ``docs/python.md``.

This folder is the package ``cloakbench`` itself: ``pyproject.toml`` maps it, and the folders beside ``bench/`` to its
subpackages. Importing it costs nothing; what it offers is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloakbench.bench.core.errors import ConfigError
    from cloakbench.bench.engine.protocol import Judge, Protocol
    from cloakbench.bench.engine.transforms import Transform
    from cloakbench.bench.plan.condition import Condition
    from cloakbench.bench.python.experiments import evaluate
    from cloakbench.bench.python.loading import load_generator, load_method, load_recogniser
    from cloakbench.bench.python.protection import ProtectedImages, protect
    from cloakbench.bench.report.metric import Metric
    from cloakbench.bench.report.results import Results
    from cloakbench.datasets.base import Dataset, FaceSet
    from cloakbench.methods.base import Budget, Protected, Protector
    from cloakbench.methods.context import Need, ProtectContext
    from cloakbench.methods.photo_batch import PhotoBatch
    from cloakbench.models.attributes import AttributeCard, AttributeModel, AttributeOutput
    from cloakbench.models.base import InputSpec, ModelCard, Recogniser
    from cloakbench.models.generators import Generator, GeneratorCard

    __version__: str

__all__ = [
    "AttributeCard",
    "AttributeModel",
    "AttributeOutput",
    "Budget",
    "Condition",
    "ConfigError",
    "Dataset",
    "FaceSet",
    "Generator",
    "GeneratorCard",
    "InputSpec",
    "Judge",
    "Metric",
    "ModelCard",
    "Need",
    "PhotoBatch",
    "ProtectContext",
    "Protected",
    "ProtectedImages",
    "Protector",
    "Protocol",
    "Recogniser",
    "Results",
    "Transform",
    "__version__",
    "evaluate",
    "load_generator",
    "load_method",
    "load_recogniser",
    "protect",
]

_PLACES = {
    "bench.core.errors": ("ConfigError",),
    "bench.plan.condition": ("Condition",),
    "bench.engine.protocol": ("Judge", "Protocol"),
    "bench.engine.transforms": ("Transform",),
    "bench.python.experiments": ("evaluate",),
    "bench.python.loading": ("load_generator", "load_method", "load_recogniser"),
    "bench.python.protection": ("ProtectedImages", "protect"),
    "bench.report.metric": ("Metric",),
    "bench.report.results": ("Results",),
    "datasets.base": ("Dataset", "FaceSet"),
    "methods.base": ("Budget", "Protected", "Protector"),
    "methods.context": ("Need", "ProtectContext"),
    "methods.photo_batch": ("PhotoBatch",),
    "models.attributes": ("AttributeCard", "AttributeModel", "AttributeOutput"),
    "models.base": ("InputSpec", "ModelCard", "Recogniser"),
    "models.generators": ("Generator", "GeneratorCard"),
}
"""Module to what it gives this package."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        found: Any = _version()
    else:
        module = next((module for module, names in _PLACES.items() if name in names), None)
        if module is None:
            raise AttributeError(f"module 'cloakbench' has no attribute {name!r}")
        from importlib import import_module

        found = getattr(import_module(f"cloakbench.{module}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("cloakbench")
    except metadata.PackageNotFoundError:  # a copy of the files that nobody installed
        return "0+unknown"
