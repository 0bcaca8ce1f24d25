"""Configs and classes of other people: found without preparation, and never the end of anything when broken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloakbench.bench.cli.main import main
from cloakbench.bench.config import plug_ins
from cloakbench.bench.config.compose import compose_config, group_options
from cloakbench.bench.config.plug_ins import announced, check_targets, shadowed
from cloakbench.bench.core.errors import ConfigError

ROOT = Path(__file__).parents[3]
METHOD = "_target_: cloakbench.methods.pgd.PGD\nsteps: {steps}\n"


def write(path: Path, text: str | bytes = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def entry_point(site: Path, package: str, value: str) -> None:
    """What an installer leaves of a package that announces configs."""
    info = site / f"{package}-1.0.dist-info"
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    write(info / "entry_points.txt", f"[cloakbench.config]\n{package} = {value}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    announced.cache_clear()
    yield folder
    announced.cache_clear()


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return folder


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "cloakbench", *words]
    environment = {"PATH": "/usr/bin:/bin", "CLOAKBENCH_RESULTS": str(folder / "results"), "LANG": "C.UTF-8"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder with a class and a folder of configs that names it."""
    write(
        tmp_path / "my_module_of_a_test.py",
        "from cloakbench.methods.pgd import PGD\n\n\nclass Mine(PGD):\n    pass\n",
    )
    write(tmp_path / "my conf, é" / "method" / "mine.yaml", "_target_: my_module_of_a_test.Mine\nsteps: 1\n")
    return tmp_path


def test_a_class_beside_the_folder_is_found_by_the_command(beside: Path) -> None:
    """The command is the installed one, without PYTHONPATH, and called from elsewhere."""
    (beside / "elsewhere").mkdir()
    words = ["experiment=smoke", "method=mine", "--cfg=job", "--config-dir", "../my conf, é"]
    done = call(beside / "elsewhere", *words)
    assert done.returncode == 0, done.stderr
    assert "my_module_of_a_test.Mine" in done.stdout


@pytest.mark.slow
def test_a_class_beside_the_folder_is_found_by_workers(beside: Path) -> None:
    """As in the README, from the folder that holds both."""
    small = ["dataset.identities=4", "dataset.distractors=10", "dataset.impostor_identities=20", "runtime.workers=1"]
    done = call(beside, "experiment=smoke", "method=mine", *small, "--config-dir", "my conf, é")
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stdout.lower() or "PGD" in done.stdout


@pytest.mark.parametrize(
    ("module", "target", "expected"),
    [
        (None, "no_such_module_x.Thing", "No module named 'no_such_module_x'"),
        ("x = 1\n", "{}.Thing", "has no Thing"),
        ("class Thingg: pass\n", "{}.Thing", "did you mean 'Thingg'?"),
        ("def f(:\n", "{}.Thing", "SyntaxError"),
        ("import sys\nsys.exit(3)\n", "{}.Thing", "SystemExit"),
        ("1 / 0\n", "{}.Thing", "ZeroDivisionError"),
        ("import no_such_module_y\n", "{}.Thing", "No module named 'no_such_module_y'"),
        (None, "Thing", "not of the form module.Class"),
        (None, "5", "not of the form module.Class"),
    ],
)
def test_what_cannot_be_imported_names_module_file_and_remedy(
    user: Path, module: str | None, target: str, expected: str, request: pytest.FixtureRequest
) -> None:
    name = f"module_{abs(hash(request.node.name))}"
    if module is not None:
        write(user / f"{name}.py", module)
    file = write(user / "conf" / "method" / "mine.yaml", f"_target_: {target.format(name)}\n")
    plug_ins.make_importable(["conf"])
    with pytest.raises(ConfigError) as caught:
        compose_config(["experiment=smoke", "method=mine"], config_dirs=["conf"])
    line = str(caught.value)
    assert expected in line
    assert str(file) in line
    assert "\n" not in line


def test_a_class_in_a_class_and_a_target_to_be_set_are_no_mistakes(user: Path) -> None:
    write(user / "nested_of_a_test.py", "class A:\n    class B:\n        pass\n")
    plug_ins.make_importable([])
    config = compose_config(["experiment=smoke"])
    config.method = {"_target_": "nested_of_a_test.A.B", "inner": [{"_target_": "???"}]}
    check_targets(config, [])


@pytest.mark.slow
def test_a_broken_plug_in_is_a_line_of_the_list(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(user / "conf" / "method" / "absent.yaml", "_target_: no_such_module_z.Thing\n")
    write(user / "conf" / "method" / "syntax.yaml", "_target_: [\n  y: {\n")
    write(user / "conf" / "method" / "binary.yaml", b"\xff\xfe\x00")
    write(user / "conf" / "method" / "items.yaml", "- a\n- b\n")
    write(user / "conf" / "method" / "number.yaml", "5\n")
    write(user / "conf" / "method" / "lost.yaml", "defaults: [nope]\n")
    write(user / "conf" / "method" / "sound.yaml", METHOD.format(steps=1))
    write(user / "conf" / "method" / "pgd.yaml", METHOD.format(steps=1))
    assert main(["list", "methods", "--config-dir", "conf"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name in ("absent", "syntax", "binary", "items", "number", "lost"):
        assert f"{name}: cannot be used" in shown, name
        assert name in ("items", "lost") or f"conf/method/{name}.yaml" in shown, name
    assert "sound: cannot" not in shown
    assert "method/pgd.yaml is not used" in shown


@pytest.mark.slow
def test_a_broken_model_is_a_line_of_the_list(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(user / "conf" / "model" / "absent.yaml", "_target_: no_such_module_z.Thing\nname: absent\n")
    assert main(["list", "models", "--config-dir", "conf"]) == 0
    assert "absent: cannot be used" in capsys.readouterr().out


@pytest.mark.parametrize(("folder", "expected"), [("nowhere", "no such folder"), ("file", "is a file, not a folder")])
def test_a_folder_that_is_none_is_one_line(
    user: Path, folder: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(user / "file")
    for words in (["list", "methods"], ["experiment=smoke"], ["-m", "seed=0,1"], ["doctor"], ["--cfg=job"]):
        assert main([*words, "--config-dir", folder]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert f"--config-dir {folder}" in line
        assert expected in line


def test_a_package_can_announce_methods_models_and_data_sets(site: Path, user: Path) -> None:
    entry_point(site, "faces-of-a-test", "faces_of_a_test.conf")
    write(site / "faces_of_a_test" / "__init__.py")
    write(site / "faces_of_a_test" / "conf" / "__init__.py")
    write(site / "faces_of_a_test" / "conf" / "method" / "theirs.yaml", METHOD.format(steps=3))
    write(site / "faces_of_a_test" / "conf" / "method" / "both.yaml", METHOD.format(steps=3))
    write(site / "faces_of_a_test" / "conf" / "method" / "pgd.yaml", METHOD.format(steps=3))
    write(site / "faces_of_a_test" / "conf" / "dataset" / "their_faces.yaml", "defaults: [synthetic_small]\n")
    write(user / "conf" / "method" / "both.yaml", METHOD.format(steps=5))
    assert "theirs" in group_options("method")
    words = ["experiment=smoke", "dataset=their_faces"]
    assert compose_config([*words, "method=theirs"]).method.steps == 3
    assert compose_config([*words, "method=both"], config_dirs=["conf"]).method.steps == 5, "the user's folder wins"
    assert compose_config([*words, "method=pgd"]).method.steps == 10, "the project's names win"
    assert len(shadowed(["conf"])) == 2


@pytest.mark.parametrize(
    ("value", "code"), [("no_such_package.conf", None), ("raises_of_a_test", "1 / 0"), ("exits_of_a_test", "exit()")]
)
def test_a_broken_announcement_is_one_line_and_not_the_end(
    site: Path, value: str, code: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    entry_point(site, "broken", value)
    if code is not None:
        write(site / value / "__init__.py", code)
    assert "pgd" in group_options("method")
    compose_config(["experiment=smoke"])
    [line] = [record.getMessage() for record in caplog.records if "entry point" in record.getMessage()]
    assert value in line
    assert "broken" in line
