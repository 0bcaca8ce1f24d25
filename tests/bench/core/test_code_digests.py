"""The code digest follows what the code does, not how it is written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cloakbench.bench.core import code_digests as provenance
from cloakbench.bench.core.canonical_code import CanonicalCode, Resolve, read_code

SOURCE = '"""Doc."""\n\n\ndef double(x):\n    """Twice."""\n    return x * 2  # exact\n'


def digest_of(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (folder / "specimen_module.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    provenance.forget_sources()
    sys.modules.pop("specimen_module", None)
    return provenance.code_digest("specimen_module")


@pytest.mark.parametrize(
    ("edit", "same"),
    [
        (("# exact", "# still exact"), True),
        (("Twice.", "Two times."), True),
        (("x * 2", "x  *  2"), True),
        (("x * 2", "x * 3"), False),
        (("double", "twice"), False),
    ],
)
def test_edits(edit: tuple[str, str], same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest_of(SOURCE, tmp_path, monkeypatch)
    assert (digest_of(SOURCE.replace(*edit), tmp_path, monkeypatch) == before) is same


def count_readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []

    def counted(source: bytes, package: str, resolve: Resolve) -> CanonicalCode:
        read.append(package)
        return read_code(source, package, resolve)

    monkeypatch.setattr(provenance, "read_code", counted)
    return read


def test_a_module_is_read_once_until_it_says_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOAKBENCH_CACHE", str(tmp_path / "side"))
    read = count_readings(monkeypatch)
    first = digest_of(SOURCE, tmp_path, monkeypatch)
    assert digest_of(SOURCE, tmp_path, monkeypatch) == first
    assert len(read) == 1
    other = digest_of(SOURCE.replace("2  #", "3  #"), tmp_path, monkeypatch)
    assert other != first
    assert digest_of(SOURCE, tmp_path, monkeypatch) == first
    assert len(read) == 2
    (file,) = (tmp_path / "side").iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    assert digest_of(SOURCE, tmp_path, monkeypatch) == first
    assert len(read) == 3


def test_a_kept_reading_does_not_hold_when_its_imports_lead_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source stays as it is; the module that it imports comes into being, and changes."""
    monkeypatch.setenv("CLOAKBENCH_CACHE", str(tmp_path / "side"))
    source = f"from specimen_part import times\n{SOURCE}"
    digests = [digest_of(source, tmp_path, monkeypatch)]
    for text in ("times = 1\n", "times = 2\n"):
        (tmp_path / "specimen_part.py").write_text(text, encoding="utf-8")
        digests.append(digest_of(source, tmp_path, monkeypatch))
    assert len(set(digests)) == 3
    read = count_readings(monkeypatch)
    assert digest_of(source, tmp_path, monkeypatch) == digests[-1]
    assert not read


def test_imported_project_modules_count() -> None:
    code = provenance._read("cloakbench.datasets.synthetic.face_batch")
    imported = {reference.module for reference in code.references}
    assert "cloakbench.datasets.synthetic.render" in imported
    assert "cloakbench.bench.core.random_streams" in imported
    assert "cloakbench.datasets.synthetic.nuisance" in imported


def test_unknown_modules_are_refused() -> None:
    with pytest.raises(ModuleNotFoundError):
        provenance.code_digest("cloakbench_has_no_such_module")


def test_code_that_only_brings_files_can_be_left_out() -> None:
    whole = provenance.code_digest("cloakbench.models.weight_file")
    kept = provenance.code_digest("cloakbench.models.weight_file", without={"cloakbench.models.download"})
    assert kept != whole
    assert kept == provenance.code_digest(
        "cloakbench.models.weight_file", without={"cloakbench.models.download", "cloakbench.models.transfer"}
    )


def project(folder: Path, name: str, files: dict[str, str]) -> str:
    """Write a user's package of modules and give its name."""
    package = folder / name
    package.mkdir()
    for module, text in files.items():
        (package / f"{module}.py").write_text(text, encoding="utf-8")
    provenance.forget_sources()
    return name


HELPED = {
    "__init__": "",
    "net": "from . import helper\nfrom .layers import Layer\n\n\nclass Net:\n    go = helper.twice(Layer)\n",
    "helper": "def twice(x):\n    return 2 * x\n",
    "layers": "import json\n\n\nclass Layer:\n    pass\n",
}


@pytest.mark.parametrize(
    ("module", "before", "after", "same"),
    [
        ("helper", "2 * x", "3 * x", False),
        ("layers", "pass", "kind = 1", False),
        ("__init__", "", "import json\n", False),
        ("layers", "    pass\n", "    pass  # a comment\n", True),
    ],
)
def test_modules_beside_a_users_module_count(
    module: str, before: str, after: str, same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    project(tmp_path, "specimen_package", HELPED)
    digest = provenance.code_digest("specimen_package.net")
    path = tmp_path / "specimen_package" / f"{module}.py"
    path.write_text(path.read_text(encoding="utf-8").replace(before, after, 1), encoding="utf-8")
    provenance.forget_sources()
    assert (provenance.code_digest("specimen_package.net") == digest) is same
    assert "specimen_package.net" not in sys.modules, "nothing is imported to be read"


def test_names_and_places_of_modules_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    one = project(tmp_path, "specimen_one", HELPED)
    renamed = {
        "__init__": "",
        "network": HELPED["net"].replace("from .layers", "from specimen_two.parts").replace("helper", "aid"),
        "aid": HELPED["helper"],
        "parts": HELPED["layers"],
    }
    two = project(tmp_path, "specimen_two", renamed)
    assert provenance.code_digest(f"{one}.net") == provenance.code_digest(f"{two}.network")
    assert provenance.portable_target(f"{one}.net.Net.go") == provenance.portable_target(f"{two}.network.Net.go")
    assert provenance.portable_target(f"{one}.net.Net").endswith(".Net")


def test_an_import_from_elsewhere_counts_although_the_text_below_is_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    files = {"__init__": "", "a": "def f():\n    return 1\n", "b": "def f():\n    return 2\n"}
    user = "from specimen_{0}.{1} import f\nfrom specimen_{0} import a, b\n"
    digests = []
    for package, module in (("left", "a"), ("right", "b")):
        project(tmp_path, f"specimen_{package}", {**files, "user": user.format(package, module)})
        digests.append(provenance.code_digest(f"specimen_{package}.user"))
    assert digests[0] != digests[1]


def test_installed_packages_count_by_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    project(tmp_path, "specimen_user", {"__init__": "import numpy\n"})
    before = provenance.code_digest("specimen_user")
    monkeypatch.setattr(provenance.importlib.metadata, "version", lambda name: "0.0.1")
    provenance.forget_sources()
    assert provenance.code_digest("specimen_user") != before
    provenance.forget_sources()


VERSIONED = r'''
import math as m
from cloakbench.datasets import randomness


@staticmethod
async def f(x: "int | None" = None, *, w=10, **rest) -> str:
    """Doc."""
    a = f"{x!r:>{w}}" "tail" f"{x=}" f"{x = !s:^{w}.{x}}" rf"\d{x}\n" f""
    b = f"{x:}" "" f"{'nested ' f'{x}'}" "literal {{}}" f"{{{x}}}" f"{x:\x41}"
    match x:
        case {"a": [1, *_], **more} if (y := 3):
            return randomness.stream_seed(a, b, 1e400, -0.0, 1j, b"\xff", ..., "\u0378é")
    try:
        return [*(z async for z in rest)]
    except* (ValueError, OSError):
        del a
'''


def test_the_digest_is_the_same_on_every_python() -> None:
    """Golden: measured on 3.11.7, 3.12.1 and 3.13.0, whose own dumps of this tree differ."""
    code = read_code(VERSIONED, "package", lambda name: name if name.startswith("cloakbench.") else None)
    assert code.digest == "2d22f2eef9fcc52ba98f8f4ade09193d5a8fd9f994d6f34a47a4e332eb6c73eb"
    assert [(r.module, r.uses) for r in code.references] == [("cloakbench.datasets.randomness", "@0")]
    assert code.foreign == {"math"}
