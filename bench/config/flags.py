"""One parser for every command: the verb, the flags, and the settings that remain.

Flags may stand anywhere, before or after the settings, with their value behind a blank or behind ``=``. What is no flag
of ours is an error that names it: a flag that is dropped in silence starts other work than was asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from cloakbench.bench.core.escape import terminal


class UsageError(ValueError):
    """The command line cannot be read; one line says which word and what to write instead."""


@dataclass(frozen=True)
class Flag:
    """A word that begins with a dash.

    Attributes:
        names: its spellings, the long one first.
        takes: what its value is, in words; empty for a switch.
        choices: the values it takes; empty for any.
        default: value of a flag whose value may be left out.
        verbs: whether commands with a verb take it, too.
    """

    names: tuple[str, ...]
    takes: str = ""
    choices: tuple[str, ...] = ()
    default: str = ""
    verbs: bool = True


HELP = Flag(("--help", "-h"))
VERSION = Flag(("--version",))
CONFIG_DIR = Flag(("--config-dir", "-cd"), "a folder")
CONFIG = Flag(("--cfg", "-c"), "job, hydra or all", ("job", "hydra", "all"))
RESOLVE = Flag(("--resolve",))
PACKAGE = Flag(("--package", "-p"), "a part of the config")
INFO = Flag(
    ("--info", "-i"),
    "a topic",
    ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    default="all",
)
MULTIRUN = Flag(("--multirun", "-m"), verbs=False)
COMPLETION = Flag(("--shell-completion", "-sc"), verbs=False)
HYDRA_HELP = Flag(("--hydra-help",), verbs=False)

FLAGS = (HELP, VERSION, CONFIG_DIR, CONFIG, RESOLVE, PACKAGE, INFO, MULTIRUN, COMPLETION, HYDRA_HELP)
_BY_NAME = {name: flag for flag in FLAGS for name in flag.names}
_SHOW = (CONFIG, INFO, COMPLETION, HYDRA_HELP)
"""Flags that show something instead of doing the work."""


@dataclass(frozen=True)
class CommandLine:
    """What a person typed.

    Attributes:
        verb: the command; empty for an experiment.
        words: settings, and what a verb takes beside them, in order.
        config_dirs: folders of ``--config-dir``, in order.
        flags: the flags that were given, and their values.
    """

    verb: str
    words: tuple[str, ...]
    config_dirs: tuple[str, ...]
    flags: dict[Flag, str]

    def __contains__(self, flag: Flag) -> bool:
        return flag in self.flags

    @property
    def shows(self) -> bool:
        """Whether something is to be shown instead of done."""
        return any(flag in self.flags for flag in _SHOW)

    @property
    def plain(self) -> list[str]:
        """The words and the folders, as a module of ``bench.cli`` takes them."""
        return [*self.words, *(f"--config-dir={folder}" for folder in self.config_dirs)]


def read_command_line(words: Sequence[str], verbs: Collection[str], with_names: Collection[str] = ()) -> CommandLine:
    """Read a command line.

    Args:
        words: the words behind ``cloakbench``.
        verbs: the commands there are.
        with_names: those of them that take plain names beside ``KEY=VALUE``.

    Raises:
        UsageError: an unknown flag or verb, a flag without its value, or a word that is no setting.
    """
    for place, word in enumerate(words, start=1):
        _check_text(place, word)
    settings: list[str] = []
    config_dirs: list[str] = []
    flags: dict[Flag, str] = {}
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("-"):
            settings.append(word)
            continue
        flag, value = _flag(word, waiting)
        if flag is CONFIG_DIR:
            config_dirs.append(value)
        elif flags.setdefault(flag, value) != value:
            raise UsageError(f"{flag.names[0]} stands twice, with {flags[flag]} and with {value}: leave one out")
    verb = settings.pop(0) if settings and is_name(settings[0]) else ""
    if verb and verb not in verbs:
        raise UsageError(f"there is no command {verb!r}{nearest(verb, verbs)}; see cloakbench --help")
    line = CommandLine(verb, tuple(settings), tuple(config_dirs), flags)
    _check(line, verbs, with_names)
    return line


def is_name(word: str) -> bool:
    """Whether a word is neither a flag nor a setting."""
    return "=" not in word and not word.startswith(("-", "~"))


def nearest(name: str, options: Collection[str]) -> str:
    """``; did you mean 'x'?`` for the option that is most like a name, or nothing."""
    close = difflib.get_close_matches(name, [option for option in options if option != name], n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def pieces(text: str) -> Iterator[str]:
    """The parts of a value between commas that stand outside quotes and brackets."""
    depth, quote, begin = 0, "", 0
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote and text[place - 1] != "\\" else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        elif sign == "," and depth <= 0:
            yield text[begin:place]
            begin = place + 1
    yield text[begin:]


def _check_text(place: int, word: str) -> None:
    if not word:
        raise UsageError(f"word {place} of the command line is empty: settings are written KEY=VALUE")
    try:
        word.encode("utf-8")
    except UnicodeEncodeError as problem:
        raise UsageError(
            f"word {place} of the command line is not UTF-8 ({terminal(word)}): give the file or folder a name that "
            "is, or a link with such a name"
        ) from problem


def _flag(word: str, waiting: list[str]) -> tuple[Flag, str]:
    """The flag of a word and its value, which may be the next of the waiting words."""
    name, equals, value = word.partition("=")
    flag = _BY_NAME.get(name)
    if flag is None:
        key = name.lstrip("-")
        close = difflib.get_close_matches(key, [one.lstrip("-") for one in _BY_NAME if one.startswith("--")], 1, 0.7)
        meant = f"; did you mean --{close[0]}?" if close else ""
        setting = f", as in {key}={value or 'VALUE'}" if key and not close else ""
        raise UsageError(f"there is no flag {name!r}{meant}; settings are written KEY=VALUE, without dashes{setting}")
    if not flag.takes:
        if equals:
            raise UsageError(f"{name} takes no value: write {name} alone, not {word!r}")
        return flag, ""
    if not equals and waiting and not waiting[0].startswith("-") and (not flag.default or waiting[0] in flag.choices):
        value, equals = waiting.pop(0), " "
    if not value:
        if flag.default and not equals:
            return flag, flag.default
        raise UsageError(f"{name} needs {flag.takes} behind it")
    if flag.choices and value not in flag.choices:
        raise UsageError(f"{name} takes {', '.join(flag.choices)}, not {value!r}{nearest(value, flag.choices)}")
    return flag, value


def _check(line: CommandLine, verbs: Collection[str], with_names: Collection[str]) -> None:
    name = f"cloakbench {line.verb}".rstrip()
    for word in line.words if line.verb not in with_names else ():
        if not is_name(word):
            continue
        if not line.verb and word in verbs:
            raise UsageError(f"{word!r} stands behind a setting: write cloakbench {word} first")
        raise UsageError(f"{name} takes KEY=VALUE and cannot use {word!r}")
    for word in line.words:
        key, equals, value = word.partition("=")
        if equals and not value.strip() and not key.startswith("~"):
            raise UsageError(f"{word!r} has no value: write {key}=VALUE")
    for flag in line.flags:
        if line.verb and not flag.verbs:
            raise UsageError(f"cloakbench {line.verb} does not take {flag.names[0]}: it is for experiments")
    if HELP in line or VERSION in line:
        return
    asked = [flag.names[0] for flag in (*_SHOW, MULTIRUN) if flag in line.flags]
    if len(asked) > 1:
        raise UsageError(f"{asked[0]} and {asked[1]} cannot be had at once")
    if RESOLVE in line and CONFIG not in line:
        raise UsageError("--resolve belongs to --cfg job")
    if PACKAGE in line and CONFIG not in line:
        raise UsageError("--package belongs to --cfg job")
