"""Mistakes in the settings of a command line, each told in one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import yaml
from hydra.errors import MissingConfigException, OverrideParseException

from cloakbench.bench.config.flags import nearest, pieces
from cloakbench.bench.config.plug_ins import project, sources
from cloakbench.bench.config.values import is_choice, quoted

_ONE_PART = ("method", "dataset", "model", "model@surrogate", "model@target")
"""Choices of which an experiment takes one."""

_NOTHING_TO_TAKE_OUT = re.compile(r"Could not delete (?:from config\. '(.*)' does not exist|'(.*)'\. No match)")
_TWICE = re.compile(r"(.*) appears more than once in the final defaults list|Multiple values for (.*)\. To override")
_SEVERAL = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '(.*)'")


def explain(
    problem: Exception, words: Sequence[str], config_dirs: Sequence[str], known_keys: Callable[[], Sequence[str]]
) -> str:
    """What composing a config raised, in one line, with the nearest name that exists.

    Args:
        problem: what was raised.
        words: the overrides.
        config_dirs: folders of configs beside the project's.
        known_keys: gives the keys there are; asked only where one is unknown.
    """
    if isinstance(problem, MissingConfigException) and problem.missing_cfg_file:
        group, _, name = str(problem.missing_cfg_file).rpartition("/")
        options = sorted(problem.options or [])
        if group == "model" and any(name in source.names("service") for source in (project(), *sources(config_dirs))):
            place = next((word for word in words if word.endswith(f"={name}")), name)
            return (
                f"{place!r}: {name} is a service, which is never a surrogate or another network of an experiment: it "
                f"can only judge, as service@services.{name}={name} with protocol@protocols.remote=remote"
            )
        return f"there is no {group or 'config'} called {name!r}{nearest(name, options)}{_listing(options)}"
    if isinstance(problem, OverrideParseException):
        return _unreadable(str(problem.override))
    if isinstance(problem, yaml.YAMLError | UnicodeDecodeError | TypeError | AttributeError) or str(problem).startswith(
        "Invalid loaded object type"
    ):
        return _unreadable_yaml(problem, words, config_dirs)
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    return (
        _unknown_key(lines[0], known_keys)
        or _wrong_choice(lines[0], words)
        or _chosen_twice(lines[0], words, config_dirs)
        or " ".join(line.strip() for line in lines if not line.strip().startswith(("full_key", "object_type")))
    )


def _unknown_key(line: str, known_keys: Callable[[], Sequence[str]]) -> str:
    if not line.startswith("Could not override"):
        return ""
    key = line.split("'")[1]
    if key == "ensembles" or key.startswith("ensembles."):
        return "write a new ensemble with a plus: +ensembles.LABEL=[key,key]"
    return f"there is no setting {key!r}{nearest(key, known_keys())}"


def _wrong_choice(line: str, words: Sequence[str]) -> str:
    if match := _SEVERAL.match(line):
        key, _, value = match[1].partition("=")
        return f"several values, {match[1]}, are a sweep: add -m, or write a list, {key}=[{value}]"
    if match := _NOTHING_TO_TAKE_OUT.match(line):
        return f"~{match[1] or match[2]} takes out what is not there: leave it out"
    if line.startswith("Config group override must be a string"):
        return no_choice(words) or "a config is chosen by its name"
    return ""


def _chosen_twice(line: str, words: Sequence[str], config_dirs: Sequence[str]) -> str:
    """Who chooses a part that there is already: a word that adds it, or the config that a word names."""
    match = _TWICE.match(line)
    if match is None:
        return ""
    place = match[1] or match[2]
    added = [word for word in words if word.partition("=")[0] == f"+{place}"]
    if added:
        return f"{added[0]!r} adds what is there already: leave the plus out to choose another, or leave it out"
    known = [project(), *sources(config_dirs)]

    def brings(word: str) -> bool:
        key, _, value = word.lstrip("+").partition("=")
        group, names = key.partition("@")[0], value.strip("[]").split(",")
        return any(f"{place}:" in source.text(group, name.strip()) for source in known for name in names)

    bringing = [word for word in words if is_choice(word) and brings(word) and not word.startswith("experiment=")]
    told = bringing[0] if bringing else "a config that it is made of"
    return f"{told} brings {place}, which the experiment has, too: leave it out, or take an experiment without that one"


def no_choice(words: Sequence[str]) -> str:
    """What is wrong with the first word that chooses a config by null or a mapping, or one part by a list; empty if
    there is none. Of a list Hydra would merge the configs, and the last would win: a part that nobody asked for.
    """
    for word in words:
        key, _, value = word.partition("=")
        ends = value[:1] + value[-1:]
        if is_choice(word) and (value.lower() == "null" or ends == "{}" or (ends == "[]" and key in _ONE_PART)):
            return f"{word!r}: a config is chosen by its name, {key}=NAME; without it the experiment's own stays"
    return ""


def _unreadable(word: str) -> str:
    """An override that Hydra cannot read, and how it is to be typed."""
    key, _, value = word.partition("=")
    if value and not all(part.strip() for part in pieces(value)):
        return f"{word!r} has an empty value between its commas: write {key}=VALUE,VALUE"
    return (
        f'cannot read {word!r}: write KEY=VALUE, and a text with signs in two pairs of quotes: "{key}={quoted(value)}"'
    )


def _unreadable_yaml(problem: Exception, words: Sequence[str], config_dirs: Sequence[str]) -> str:
    """Which of the files that are not this project's cannot be read, and where; those that were chosen first."""
    found = {}
    for source in sources(config_dirs):
        for group in sorted(source.groups()):
            for name in sorted(source.names(group)):
                if fault := _fault((source.folder / group / f"{name}.yaml").read_bytes()):
                    found[f"{source.folder / group / name}.yaml{fault}"] = any(
                        word.endswith(f"={name}") for word in words
                    )
    chosen = [line for line, was_chosen in found.items() if was_chosen]
    return next(iter([*chosen, *found]), f"a config cannot be read: {' '.join(str(problem).split())}")


def _fault(content: bytes) -> str:
    """What is wrong with the text of a config; empty if nothing is."""
    try:
        loaded = yaml.safe_load(content)
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        why = getattr(fault, "problem", None) or getattr(fault, "reason", None) or "no YAML"
        return f"{line}: cannot be read as YAML: {why}"
    return "" if loaded is None or isinstance(loaded, dict) else ": holds no settings: write KEY: VALUE lines"


def _listing(options: Sequence[str]) -> str:
    return f" (there are: {', '.join(options)})" if options else ""
