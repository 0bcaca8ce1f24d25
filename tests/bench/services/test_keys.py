"""Keys come from the environment or a private file, and from nowhere else."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.services.keys import keys_for, keys_of, refuse_keys
from cloakbench.models.pictures import PictureLimits
from cloakbench.models.service_keys import ServiceKeys
from cloakbench.models.services import ServiceCard

VALUE = "A-REAL-LOOKING-KEY-1234"


def private(folder: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    file = folder / "keys"
    file.write_text(text)
    file.chmod(mode)
    return {"CLOAKBENCH_KEYS": str(file)}


def test_keys_come_from_the_environment() -> None:
    environment = {"CLOAKBENCH_FACEPP_KEY": "k", "CLOAKBENCH_FACEPP_SECRET": "s", "CLOAKBENCH_FACEPP_TOKEN": "t"}
    keys = keys_of("facepp", environment)
    assert (keys.key, keys.secret, keys.token) == ("k", "s", "t")
    assert keys_of("my-service 2", {"CLOAKBENCH_MY_SERVICE_2_KEY": "k"}).key == "k"


def test_keys_come_from_a_file_of_ones_own_and_variables_go_before_it(tmp_path: Path) -> None:
    text = "# mine\n\nCLOAKBENCH_FACEPP_KEY = k=1\nCLOAKBENCH_FACEPP_SECRET=from file\n"
    environment = private(tmp_path, text)
    assert keys_of("facepp", environment).key == "k=1"
    keys = keys_of("facepp", {**environment, "CLOAKBENCH_FACEPP_SECRET": "from variable"})
    assert (keys.key, keys.secret) == ("k=1", "from variable")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match=rf"others can read .* \(mode {mode:04o}\): chmod 600") as raised:
        keys_of("facepp", private(tmp_path, f"CLOAKBENCH_FACEPP_KEY={VALUE}", mode))
    assert VALUE not in str(raised.value)


@pytest.mark.parametrize("line", [VALUE, f"facepp={VALUE}", f"CLOAKBENCH_FACEPP={VALUE}"])
def test_a_file_of_other_lines_is_refused_without_repeating_them(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match="line 2 of") as raised:
        keys_of("facepp", private(tmp_path, f"# keys\n{line}\n"))
    assert VALUE not in str(raised.value)


def test_missing_keys_files_and_folders_are_one_line_each(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no key; set CLOAKBENCH_FACEPP_KEY"):
        keys_of("facepp", {"CLOAKBENCH_FACEPP_SECRET": "s"})
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        keys_of("facepp", {"CLOAKBENCH_KEYS": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match="it is a folder"):
        keys_of("facepp", {"CLOAKBENCH_KEYS": str(tmp_path)})


@pytest.mark.parametrize(
    "word",
    [
        f"services.facepp.key={VALUE}",
        f"+services.facepp.api_secret={VALUE}",
        f"protocols.remote.services.facepp.token={VALUE}",
        f"++remote.keys.facepp={VALUE}",
        f"description=asked with {VALUE}",
    ],
)
def test_a_key_on_the_command_line_is_an_error_that_does_not_repeat_it(word: str) -> None:
    with pytest.raises(ConfigError, match="on the command line holds a key") as raised:
        refuse_keys([word.replace("remote.keys.facepp", "remote.facepp.keys")], {}, {"CLOAKBENCH_FACEPP_KEY": VALUE})
    assert VALUE not in str(raised.value)


@pytest.mark.parametrize(
    "config",
    [
        {"services": {"facepp": {"api_key": VALUE}}},
        {"protocols": {"remote": {"services": {"facepp": {"line": {"secret": VALUE}}}}}},
        {"dataset": {"roots": ["a", VALUE]}},
    ],
)
def test_a_key_in_a_config_is_an_error_that_does_not_repeat_it(config: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="in the config holds a key") as raised:
        refuse_keys([], config, {"CLOAKBENCH_FACEPP_SECRET": VALUE})
    assert VALUE not in str(raised.value)


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_keys_of_the_file_are_known_whatever_its_mode(tmp_path: Path, mode: int) -> None:
    environment = private(tmp_path, f"# mine\nno line\nCLOAKBENCH_FACEPP_SECRET={VALUE}\n", mode)
    for words, config in (
        ([f"description=by {VALUE}"], {}),
        ([VALUE], {}),
        ([f"+{VALUE}.a=1"], {}),
        ([], {"dataset": {"roots": ["a", VALUE]}}),
    ):
        with pytest.raises(ConfigError, match="holds a key") as raised:
            refuse_keys(words, config, environment)
        assert VALUE not in str(raised.value)
    refuse_keys(["description=mine"], {}, environment)
    refuse_keys([VALUE], {}, {"CLOAKBENCH_KEYS": str(tmp_path / "none")})


def test_a_config_that_borrows_a_key_from_the_environment_is_refused() -> None:
    for reference in ("${oc.env:CLOAKBENCH_FACEPP_KEY}", "by ${oc.env:'CLOAKBENCH_FACEPP_SECRET',none}"):
        with pytest.raises(ConfigError, match="description in the config holds a key"):
            refuse_keys([], {"description": reference}, {})
    refuse_keys([], {"paths": {"results": "${oc.env:CLOAKBENCH_RESULTS,results}"}}, {})


def test_configs_and_words_without_keys_pass() -> None:
    config = {"method_key": "pgd", "services": {"facepp": {"line": {"base_url": "https://a"}, "secret": "", "n": 3}}}
    refuse_keys(["method=pgd", "experiment=smoke", "services.facepp.line.attempts=2", "-m"], config, {})


def test_keys_show_themselves_nowhere() -> None:
    keys = ServiceKeys("the/key+1=", "the secret", "tok&en")
    assert "the" not in repr(keys) and "the" not in str(keys) and "the" not in f"{keys}"
    with pytest.raises(TypeError, match="never written down"):
        pickle.dumps(keys)
    keys.issued("bought-token")
    text = "the/key+1= the%2Fkey%2B1%3D dGhlL2tleSsxPQ== the secret the+secret the%20secret tok%26en bought-token"
    assert keys.without(text).split("(left out)") == ["", *[" "] * 7, ""]


def test_a_fingerprint_names_the_key_and_not_the_key_itself() -> None:
    one, other = ServiceKeys("key one"), ServiceKeys("key two")
    assert one.fingerprint("facepp") == ServiceKeys("key one", "s").fingerprint("facepp")
    assert len({one.fingerprint("facepp"), one.fingerprint("baidu"), other.fingerprint("facepp")}) == 3


def test_a_service_on_this_machine_needs_no_key_unless_there_is_one(tmp_path: Path) -> None:
    def card(host: str) -> ServiceCard:
        limits = PictureLimits()
        return ServiceCard("mine", "Mine", host, "1", frozenset(), limits, 1, "", "2026-11-27")

    for host in ("127.0.0.1:8700", "localhost:1", "[::1]:8700"):
        assert keys_for(card(host), {}).key == ""
        assert keys_for(card(host), {"CLOAKBENCH_MINE_KEY": "k"}).key == "k"
        assert keys_for(card(host), private(tmp_path, "CLOAKBENCH_MINE_KEY=k")).key == "k"
    for host in ("api.example", "127.0.0.1.example:80", "10.0.0.1"):
        with pytest.raises(ConfigError, match="there is no key; set CLOAKBENCH_MINE_KEY"):
            keys_for(card(host), {})
