"""Paths and names arrive as they were typed, whatever Hydra's grammar would make of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.given import is_taken_out
from cloakbench.bench.config.values import LONGEST_NAME, ValueKind, as_typed, file_name, kind_of
from cloakbench.bench.core.errors import ConfigError

SIGNS = [
    "été",
    "写真",
    "photos (1)",
    "Jo's photos",
    "a&b",
    "a#b",
    "a~b",
    "a{b}",
    "a=b",
    "a,b",
    "a[b]",
    'a"b',
    "a\\b",
    " a ",
]
SIGNS += [
    "007",
    "2024",
    "1e3",
    "true",
    "nan",
    "0x1F",
    "1_000",
    "-5",
    "+1",
    "$HOME",
    "a${b",
    "choice(a,b)",
    "[x]",
    "{a: b}",
]
SIGNS += ["a'b\\", "'", "''x", "a;b", "a:b", "😀", "a\nb", "*", "a%20b", "a!b"]


def read(word: str) -> list[str]:
    """What Hydra makes of an override that was typed; several values are a sweep."""
    override = OverridesParser.create().parse_override(word)
    if not override.is_sweep_override():
        return [override.value()]  # type: ignore[list-item]
    return [OverridesParser.create().parse_override(f"x={one}").value() for one in override.sweep_string_iterator()]  # type: ignore[misc]


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("key", ["input", "dataset.root", "dataset.distractor_root", "model.weights.path", "name"])
def test_a_path_or_name_keeps_every_sign(key: str, sign: str) -> None:
    [value] = read(as_typed(f"{key}={sign}"))
    assert str(value).replace("\\${", "${") == sign


@pytest.mark.parametrize("sign", SIGNS)
def test_an_existing_folder_wins_over_a_sweep(sign: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / sign).mkdir()
    monkeypatch.chdir(tmp_path)
    [value] = read(as_typed(f"dataset.root={sign}", sweeping=True))
    assert str(value).replace("\\${", "${") == sign


def test_in_a_sweep_a_comma_separates_unless_quoted() -> None:
    assert read(as_typed("dataset.root=été,写真 (1),007", sweeping=True)) == ["été", "写真 (1)", "007"]
    assert read(as_typed("dataset.root='a,b'", sweeping=True)) == ["a,b"]
    assert read(as_typed("dataset.root='a,b',c", sweeping=True)) == ["a,b", "c"]
    assert read(as_typed("paths.results=r,1", sweeping=True)) == ["r,1"]
    assert as_typed("seed=0,1", sweeping=True) == "seed=0,1"


def test_once_quoted_stays_quoted() -> None:
    for sign in SIGNS:
        once = as_typed(f"dataset.root={sign}")
        assert as_typed(once) == once == as_typed(once, sweeping=True)


def test_home_is_meant_by_a_tilde_that_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert read(as_typed("input=~/photos")) == [f"{tmp_path}/photos"]
    assert read(as_typed("input='~/photos'")) == [f"{tmp_path}/photos"]
    assert read(as_typed("input=~")) == [str(tmp_path)]
    assert read(as_typed("name=~/photos")) == ["~/photos"]
    (tmp_path / "~root").mkdir()
    assert read(as_typed("input=~root")) == ["./~root"]


def test_what_is_no_path_and_no_text_is_left_to_hydra() -> None:
    for word in (
        "seed=5",
        "protocols.poisoning.references=3",
        "method=pgd",
        "~methods.pgd",
        "method.epsilon_255=4",
        "input=null",
    ):
        assert as_typed(word) == word
    assert as_typed("dataset.root=${oc.env:HOME}/x") == "dataset.root='${oc.env:HOME}/x'"
    assert as_typed("method=2024") == "method='2024'"
    assert as_typed("+model@targets.x=50") == "+model@targets.x='50'"


def test_every_setting_of_the_project_that_is_a_path_is_known() -> None:
    for key in (
        "dataset.cache",
        "dataset.landmarks_file",
        "paths.runs",
        "method.folder",
        "protocols.quality.image_metrics.lpips.path",
    ):
        assert kind_of(key) is not None, key
    for key in ("input", "output", "references", "auxiliary", "pairs", "landmarks_file", "checkpoints"):
        assert kind_of(key) is not None, key
    for key in ("protocols.poisoning.references", "dataset.references_per_identity"):
        assert kind_of(key) is None, key
    assert kind_of("model.output") is ValueKind.TEXT


def test_folder_and_model_called_by_a_number_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["experiment=smoke", "dataset=folder", "dataset.root=007", "dataset.cache=2024", "name=1e3"]
    words += [
        "protocols.quality.image_metrics.lpips.path=2024",
        "model@target=onnx",
        "target.name=50",
        "target.card.family=12e4",
    ]
    config = compose_config(words)
    assert (config.dataset.root, config.dataset.cache, config.name) == ("007", "2024", "1e3")
    assert (config.protocols.quality.image_metrics.lpips.path, config.target.name, config.target.card.family) == (
        "2024",
        "50",
        "12e4",
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["name=null"], "name is null"),
        (["name=''"], "name is empty"),
        (["model@target=onnx", "target.name=null"], "target.name is null"),
        ([f"name={'x' * (LONGEST_NAME + 1)}"], "shorter name"),
        (["paths.results=''"], "paths.results is empty"),
        (["paths.results=null"], "paths.results is null"),
        (["paths.store=''"], "paths.store is empty"),
        (["paths=5"], "paths is 5"),
        (["paths=null"], "paths is null"),
        (["dataset=folder", "dataset.root=null"], "dataset.root is null"),
        (["dataset=folder", "dataset.root=''"], "dataset.root is empty"),
        (["methods=3"], "methods is 3"),
    ],
)
def test_a_name_or_place_that_cannot_be_is_one_line(words: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        compose_config(["experiment=smoke", *words])


def test_a_path_that_may_be_left_out_may_be_null() -> None:
    words = ["dataset=folder", "dataset.root=x", "dataset.distractor_root=null", "dataset.cache=null"]
    config = compose_config(["experiment=smoke", *words])
    assert config.dataset.cache is None


def test_a_number_without_quotes_in_a_yaml_says_so(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ndefaults: [smoke]\nname: 1e3\n")
    with pytest.raises(ConfigError, match="without quotes in its YAML"):
        compose_config(["experiment=mine"], config_dirs=[str(tmp_path)])


@pytest.mark.parametrize("name", ["../x", "/etc", "a[/b]", "..", "a\\b", "a\x1bb", "a\nb"])
def test_a_name_is_never_a_path(name: str, tmp_path: Path) -> None:
    assert (tmp_path / f"{file_name(name)}-1234").parent == tmp_path
    assert file_name(name).isprintable()


@pytest.mark.parametrize("key", ["model.output", "target.weights.ignore", "target.weights.state_key"])
def test_names_inside_weight_files_may_be_numbers(key: str) -> None:
    """Exporters of torch number the outputs of a network, and a Sequential numbers its layers."""
    assert read(as_typed(f"{key}=683")) == ["683"]
    assert read(as_typed(f"{key}=3.")) == ["3."]
    assert read(as_typed("target.weights.ignore=[fc.,head.]")) == [["fc.", "head."]]


@pytest.mark.parametrize("word", ["~method@methods.apf", "~methods.apf"])
def test_what_is_taken_out_leaves_no_settings_behind(word: str) -> None:
    config = compose_config(["experiment=bench", word])
    assert "apf" not in config.methods
    assert "pgd" in config.methods
    assert is_taken_out(config, "methods.apf")
