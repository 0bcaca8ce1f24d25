"""Flags stand anywhere, and what is no flag is an error that names it."""

from __future__ import annotations

import pytest

from cloakbench.bench.config import flags
from cloakbench.bench.config.flags import UsageError, pieces, read_command_line

VERBS = ("list", "check", "report", "perf", "protect")


def read(*words: str) -> flags.CommandLine:
    return read_command_line(words, VERBS, ("list", "report"))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--nope"], "'--nope'"),
        (["--"], "'--'"),
        (["-"], "'-'"),
        (["---"], "'---'"),
        (["experiment=smoke", "--workers=3"], "workers=3"),
        (["experiment=smoke", "--workers", "3"], "'--workers'"),
        (["experiment=smoke", "--config-dir"], "--config-dir needs a folder"),
        (["--config-dir", "--cfg", "job"], "--config-dir needs a folder"),
        (["--config-dir="], "--config-dir needs a folder"),
        (["-cd"], "-cd needs a folder"),
        (["--multirn"], "did you mean --multirun?"),
        (["--multirun=yes"], "--multirun takes no value"),
        (["--config-name=zoo"], "'--config-name'"),
        (["--cfg"], "--cfg needs job, hydra or all"),
        (["--cfg", "experiment=smoke"], "--cfg takes job, hydra, all, not 'experiment=smoke'"),
        (["--cfg=jb"], "did you mean 'job'?"),
        (["-m", "--cfg=job"], "--cfg and --multirun cannot be had at once"),
        (["--cfg=job", "--cfg=hydra"], "--cfg stands twice, with job and with hydra"),
        (["--resolve"], "--resolve belongs to --cfg"),
        (["check", "-m", "method=pgd"], "check does not take --multirun"),
        (["perf", "--people", "5"], "people=VALUE"),
        (["lst"], "did you mean 'list'?"),
        (["chekc", "method=pgd"], "did you mean 'check'?"),
        (["method=pgd", "check"], "write cloakbench check first"),
        (["check", "pgd"], "cannot use 'pgd'"),
        (["seed="], "'seed=' has no value"),
        (["-m", "seed= "], "has no value"),
        ([""], "word 1 of the command line is empty"),
        (["dataset.root=\udcff"], "not UTF-8"),
    ],
)
def test_a_mistake_names_its_word(words: list[str], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(*words)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ["experiment=smoke", "--cfg", "job", "--resolve", "seed=1"],
        ["--cfg=job", "--resolve", "experiment=smoke", "seed=1"],
        ["experiment=smoke", "seed=1", "-c", "job", "--resolve"],
        ["--resolve", "experiment=smoke", "-c=job", "seed=1"],
    ],
)
def test_flags_stand_anywhere_and_in_both_spellings(words: list[str]) -> None:
    line = read(*words)
    assert line.words == ("experiment=smoke", "seed=1")
    assert line.flags == {flags.CONFIG: "job", flags.RESOLVE: ""}


def test_the_topic_of_info_may_be_left_out_before_a_setting() -> None:
    assert read("--info", "experiment=smoke").flags[flags.INFO] == "all"
    assert read("--info", "defaults", "experiment=smoke").flags[flags.INFO] == "defaults"
    assert read("experiment=smoke", "-i").flags[flags.INFO] == "all"


def test_folders_may_stand_before_the_verb_and_be_several() -> None:
    line = read("--config-dir", "a b", "list", "methods", "-cd=c=d")
    assert (line.verb, line.words, line.config_dirs) == ("list", ("methods",), ("a b", "c=d"))
    assert line.plain == ["methods", "--config-dir=a b", "--config-dir=c=d"]


def test_a_deletion_is_a_setting() -> None:
    assert read("~methods.pgd").words == ("~methods.pgd",)


def test_values_are_split_at_commas_outside_quotes_and_brackets() -> None:
    assert list(pieces("[1,2],'a,b',{c: [d,e]},f")) == ["[1,2]", "'a,b'", "{c: [d,e]}", "f"]
    assert list(pieces("0,,1")) == ["0", "", "1"]
