"""Who may import whom, and what library code must not do."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from cloakbench.bench.core import code_digests, status

ROOT = Path(__file__).parents[1]
PACKAGES = ("bench", "datasets", "methods", "models")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

GROUND = "bench.core"
"""The ground floor: everybody may import it, and it imports nothing of the project."""
ALLOWED = {
    "bench": {
        "bench",
        "methods.base",
        "methods.context",
        "methods.photo_batch",
        "models.attribute_surrogate",
        "methods.recovery",
        "models.attributes",
        "models.base",
        "models.generators",
        "models.pictures",
        "models.same_weights",
        "datasets.attribute_task",
        "models.service_keys",
        "models.services",
        "models.vocabulary",
        "datasets.base",
    },
    "methods": {
        "methods",
        "models.base",
        "models.purifiers",
        "datasets.attribute_task",
        "datasets.base",
        "datasets.photos",
        "datasets.thirds",
        GROUND,
    },
    "models": {"models", "datasets.attribute_task", "datasets.base", GROUND},
    "datasets": {"datasets", GROUND},
}
FLOORS = (
    {"core"},
    {"services", "store", "statistics"},
    {"processes", "report"},
    {"config"},
    {"plan"},
    {"engine"},
    {"protocols", "experiment"},
    {"doctor", "perf", "protect", "recognisers", "sharing", "survey"},
    {"cli", "python"},
    {"api"},
)
"""The rooms of ``bench`` from the ground up; a room imports from itself and from the floors below."""
FURTHER = {
    # Command modules reach further: they are the places where a person's words become calls.
    "bench/cli/running/experiments.py": {"models.training.command", "models.generation.view_command"},
    "bench/cli/check.py": {
        "methods.conformance",
        "models.attribute_surrogate",
        "models.conformance",
        "models.generator_conformance",
    },
    "bench/recognisers/attribute_accuracy.py": {"datasets.attribute_task", "models.attribute_surrogate"},
    "bench/recognisers/attribute_session.py": {"datasets.attribute_task"},
    "bench/recognisers/attribute_verify.py": {"datasets.attribute_task", "models.attribute_surrogate"},
    "bench/cli/doctor.py": {"models.download"},
    "bench/cli/fetch.py": {"datasets.archives", "datasets.listing", "models.download", "models.weight_file"},
    "bench/cli/list.py": {"conf"},
    "bench/cli/verify.py": {"datasets.crop_reader", "datasets.crops", "datasets.detection", "datasets.pairs"},
    "bench/doctor/preflight.py": {"models.download", "models.perceptual", "models.weight_file", "models.zoo"},
    "bench/engine/cleaning/background.py": {"datasets.alignment"},
    "bench/perf/ensemble_loops.py": {"models.base"},
    "bench/perf/faces.py": {"datasets.base"},
    "bench/perf/local_loops.py": {"datasets.base"},
    "bench/perf/loops.py": {"models.base"},
    "bench/perf/peers.py": {"datasets.base", "methods.context", "methods.photo_batch", "models.base"},
    "bench/perf/service_calls.py": {"models.mlaas"},
    "bench/perf/subjects.py": {"models", "methods"},
    "bench/protocols/quality/embedded.py": {"models.perceptual"},
    "bench/protocols/quality/learnt.py": {"models.dists", "models.dreamsim", "models.perceptual", "models.weight_file"},
    "bench/protocols/quality/network_metric.py": {"models.weight_file"},
    # Full photos in, full photos out: the one place of the engine that handles files of people.
    "bench/protect/faces.py": {
        "datasets.alignment",
        "datasets.given_points",
        "datasets.crops",
        "datasets.detection",
        "datasets.photos",
    },
    "bench/protect/discover.py": {"datasets.encoding", "datasets.photos"},
    "bench/protect/inputs.py": {"datasets.photos"},
    "bench/protect/evaluate.py": {"datasets.paste", "datasets.photos"},
    "bench/protect/hiding.py": {"datasets.alignment", "datasets.photos"},
    "bench/protect/keys/note.py": {"datasets.alignment"},
    "bench/protect/layers.py": {"datasets.paste"},
    "bench/protect/recover.py": {"datasets.encoding", "datasets.metadata", "datasets.photos"},
    "bench/protect/run.py": {
        "datasets.alignment",
        "datasets.encoding",
        "datasets.metadata",
        "datasets.paste",
        "datasets.photos",
    },
    "bench/protect/settings.py": {"datasets.detection", "datasets.encoding", "datasets.metadata"},
    "bench/protect/sheet.py": {"datasets.paste"},
    "bench/python/pictures.py": {"datasets.photos"},
    # The local service reads pictures as they come, and says of itself what its adapter knows of it.
    "bench/services/local/neutral.py": {"models.mlaas.local"},
    "bench/services/local/pictures.py": {
        "datasets.alignment",
        "datasets.crops",
        "datasets.detection",
        "datasets.photos",
    },
    "bench/services/local/server.py": {"datasets.detection", "models.mlaas.local"},
    "bench/services/local/settings.py": {"models.mlaas.local"},
    "bench/services/preparing.py": {"datasets.alignment", "datasets.paste"},
    "bench/protect/export.py": {"datasets.alignment", "datasets.detection", "datasets.originals", "datasets.photos"},
}


def modules_of(package: str) -> list[Path]:
    return [path for path in MODULES if path.relative_to(ROOT).parts[0] == package]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def project_imports(path: Path) -> set[str]:
    """Modules of this project that a file imports, without the package's name."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cloakbench."):
            found.add(str(node.module).removeprefix("cloakbench."))
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("cloakbench.") for a in node.names if a.name.startswith("cloakbench.")}
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_layers_import_only_what_they_may(package: str) -> None:
    wrong = []
    for path in modules_of(package):
        place = path.relative_to(ROOT)
        allowed = ALLOWED[package] | FURTHER.get(str(place), set())
        if place.parts[:2] == ("bench", "core"):
            allowed = {GROUND}
        for module in project_imports(path):
            parts = module.split(".")
            prefixes = {".".join(parts[: i + 1]) for i in range(len(parts))}
            wrong += [] if prefixes & allowed else [f"{place} imports cloakbench.{module}"]
    assert wrong == []


def test_rooms_of_the_bench_import_downwards_only() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    wrong = []
    for path in modules_of("bench"):
        place = path.relative_to(ROOT)
        if len(place.parts) == 2:
            wrong += [] if place.name == "__init__.py" else [f"{place} stands in no room"]
            continue
        room = place.parts[1]
        for module in project_imports(path):
            parts = module.split(".")
            if parts[0] == "bench" and parts[1:2] not in ([], [room]) and floor[parts[1]] >= floor[room]:
                wrong.append(f"{place} imports {module}, which is no floor below")
    assert wrong == []


def test_rooms_modules_and_functions_of_the_bench_are_small() -> None:
    """At most 19 modules in a room, 300 lines in a module, 60 in a function, its docstring apart."""
    modules = sorted((ROOT / "bench").rglob("*.py"))
    rooms = Counter(path.parent for path in modules if path.name != "__init__.py")
    large = [f"{room.relative_to(ROOT)}: {count} modules" for room, count in rooms.items() if count > 19]
    for path in modules:
        source, place = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
        lines = len(source.splitlines())
        if lines > 300:
            large.append(f"{place}: {lines} lines")
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef):
                told = (ast.get_docstring(node, clean=False) or "").count("\n")
                if (length := (node.end_lineno or 0) - node.lineno + 1 - told) > 60:
                    large.append(f"{place}, {node.name}: {length} lines")
    assert large == []


def test_keys_of_protected_photos_hold_no_code_that_prints_or_calls() -> None:
    methods = [f"cloakbench.methods.{path.stem}" for path in (ROOT / "methods").glob("[!_]*.py")]
    queue, found = {"cloakbench.methods.base", *methods}, set()
    while queue:
        found.add(name := queue.pop())
        if code_digests._is_followed(name):
            used = {
                part for one in code_digests._read(name).references for part in code_digests._with_parents(one.module)
            }
            queue |= (used | set(code_digests._with_parents(name))) - found
    rooms = {".".join(name.split(".")[1:3]) for name in found}
    assert {"bench.core", "methods.parts"} <= rooms
    assert rooms.isdisjoint({"bench.report", "bench.cli", "bench.python", "bench.api"}) and "" not in rooms


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_draws_from_global_random_state(package: str) -> None:
    """Draws name their generator; ``manual_seed`` only inside a fork of the global state."""
    wrong = []
    for path in modules_of(package):
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            drawn = isinstance(owner, ast.Name) and owner.id in ("torch", "random") and node.func.attr in _DRAWS
            if drawn and not any(word.arg == "generator" for word in node.keywords):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} draws globally")
        text = path.read_text(encoding="utf-8")
        if re.search(r"torch\.manual_seed\(", text) and "fork_rng" not in text:
            wrong.append(f"{path.relative_to(ROOT)} seeds the global generator")
    assert wrong == []


_DRAWS = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "random", "shuffle", "choice"}


def test_no_class_name_stands_for_two_things() -> None:
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_each_status_is_defined_once() -> None:
    """In the ground floor: a constant elsewhere that says the same would drift away from it."""
    values = {value for name, value in vars(status).items() if name.isupper()}
    again = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in MODULES
        for node in parsed(path).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value in values
    ]
    assert len(values) == len(again) and {place.partition(":")[0] for place in again} == {"bench/core/status.py"}


def test_every_method_has_a_config_and_every_config_a_method() -> None:
    targets = set()
    for path in (ROOT / "conf" / "method").glob("*.yaml"):
        match = re.search(r"^_target_: cloakbench\.methods\.(\w+)\.\w+", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert match, f"{path.name} names no class of ours"
        targets.add(match.group(1))
    classes = {
        path.stem
        for path in (ROOT / "methods").glob("*.py")
        if re.search(r"^    name: ClassVar\[str\] = ", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert classes == targets


def test_no_tracked_file_names_one_machine() -> None:
    """No absolute home or work folder, and no host of a package index in the lock."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    homes = re.compile(r"(?<![\w.])/(?:home|root|Users)/\w")
    outside = re.compile(r"(?<![\w.:/])/\w+/\w")  # kept runs: any absolute path
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".yaml", ".json", ".toml", ".sh", ".lock", ".cff"} and path.exists():
            folders = outside if name.startswith("results/") and path.suffix in {".yaml", ".json"} else homes
            assert not folders.search(path.read_text(encoding="utf-8")), f"{name} names a folder of one machine"
    assert "://" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")
