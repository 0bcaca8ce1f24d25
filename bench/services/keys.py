"""Keys of services: from the environment or a file that nobody else can read, and from nowhere else.

``CLOAKBENCH_<SERVICE>_KEY``, ``_SECRET`` and, for temporary keys, ``_TOKEN``; or the same names as lines ``NAME=VALUE``
of the file that ``CLOAKBENCH_KEYS`` names. A key in a config or on the command line would be in kept configs, in the
history of a shell and in lists of processes, so it is an error before anything else happens.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.files.regular_file import NotRegularError, open_regular
from cloakbench.bench.core.redaction import is_secret_name
from cloakbench.models.service_keys import ServiceKeys

if TYPE_CHECKING:
    from cloakbench.models.services import ServiceCard  # brings torch, which no command line waits for

FILE_VARIABLE = "CLOAKBENCH_KEYS"
_PARTS = ("KEY", "SECRET", "TOKEN")
_VARIABLE = re.compile(rf"CLOAKBENCH_[A-Z0-9_]+_(?:{'|'.join(_PARTS)})")
_BLOCKS = ("service", "services", "remote")
"""Parts of the config in which a setting called ``key`` can be nothing but a key."""
_CALLED = frozenset({"key", "keys", "secret", "secrets", "token"})
_SHORTEST = 8  # shorter values of variables are words, which may stand anywhere
_BORROWED = re.compile(rf"oc\.env:\s*['\"]?{_VARIABLE.pattern}\b")
"""A reference of a config to such a variable: it would be looked up, and kept."""


def keys_of(service: str, environment: Mapping[str, str] = os.environ) -> ServiceKeys:
    """The keys of a service; a variable goes before the file.

    Raises:
        ConfigError: there is no key, or the file is missing, somebody else's to read, or not of lines ``NAME=VALUE``.
    """
    found = {**_from_file(environment), **environment}
    names = [variable(service, part) for part in _PARTS]
    key, secret, token = (found.get(name, "").strip() for name in names)
    if not key:
        raise ConfigError(
            f"service {service}: there is no key; set {names[0]} (and {names[1]}), or put both as lines NAME=VALUE "
            f"into a file of yours alone and name it in {FILE_VARIABLE}"
        )
    return ServiceKeys(key, secret, token)


def keys_for(card: ServiceCard, environment: Mapping[str, str] = os.environ) -> ServiceKeys:
    """The keys of a service; one on this machine needs none, unless the environment or its file has them.

    Raises:
        ConfigError: there are none, as for `keys_of`.
    """
    needless = card.on_this_machine and not has_key(card.name, environment)
    return ServiceKeys("") if needless else keys_of(card.name, environment)


def has_key(service: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment, or the file that it names, has a key of a service.

    Raises:
        ConfigError: the file is not as it must be.
    """
    name = variable(service, "KEY")
    return bool(environment.get(name) or _from_file(environment).get(name))


def variable(service: str, part: str) -> str:
    """The variable with a part of a service's keys."""
    return f"CLOAKBENCH_{re.sub(r'[^A-Z0-9]+', '_', service.upper())}_{part}"


def refuse_keys(
    words: Sequence[str], config: Mapping[str, Any] | None = None, environment: Mapping[str, str] = os.environ
) -> None:
    """Refuse keys on the command line and in a config.

    Args:
        words: of the command line, as they were typed.
        config: composed from them and from YAML files, as plain values, references as they stand.
        environment: whose keys, and those of the file it names, may not be in either.

    Raises:
        ConfigError: there is one; the line says where, and not what.
    """
    known = _known_keys(environment)
    for word in words:
        name, _, value = word.lstrip("+~-").partition("=")
        if (value and _names_key(name.split("."))) or _holds_key(word, known):
            raise ConfigError(_refusal(f"{_without(name, known)} on the command line"))
    for path, value in _texts(config or {}, ()):
        if _names_key(path) or _holds_key(value, known):
            raise ConfigError(_refusal(f"{_without('.'.join(path), known)} in the config"))


def _known_keys(environment: Mapping[str, str]) -> list[str]:
    """Values of the variables and of the file that they name, whatever is wrong with that file: whoever needs a key
    from it is told."""
    values = [value for name, value in environment.items() if _VARIABLE.fullmatch(name)]
    if place := _place_of(environment):
        with suppress(OSError, UnicodeDecodeError):
            values += [value for _, name, value in _lines(_read(place)[1]) if _VARIABLE.fullmatch(name)]
    return [value for value in values if len(value) >= _SHORTEST]


def _holds_key(value: str, known: Sequence[str]) -> bool:
    return _BORROWED.search(value) is not None or any(key in value for key in known)


def _without(name: str, known: Sequence[str]) -> str:
    return "a setting" if any(key in name for key in known) else name


def _refusal(where: str) -> str:
    return f"{where} holds a key of a service: keys come from the environment or the file {FILE_VARIABLE} names"


def _names_key(path: Sequence[str]) -> bool:
    last = path[-1].lower()
    inside = any(part.partition("@")[0].lower() in _BLOCKS for part in path[:-1])
    return inside and (last in _CALLED or is_secret_name(last))


def _texts(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _texts(value, (*path, str(name)))
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _texts(value, path)
    elif isinstance(node, str) and node not in ("", "???"):
        yield path, node


def _place_of(environment: Mapping[str, str]) -> str:
    return environment.get(FILE_VARIABLE, "").strip()


def _read(place: str) -> tuple[int, str]:
    """Mode and text of a file of keys.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read, or is no text.
    """
    with open_regular(place) as file:
        return stat.S_IMODE(os.fstat(file.fileno()).st_mode), file.read().decode()


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Number, name and value of each line ``NAME=VALUE``; the name is empty where a line is none."""
    for number, line in enumerate(text.splitlines(), 1):
        name, mark, value = (part.strip() for part in line.partition("="))
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, name if mark else "", value


def _from_file(environment: Mapping[str, str]) -> dict[str, str]:
    if not (place := _place_of(environment)):
        return {}
    try:
        mode, text = _read(place)
    except NotRegularError as problem:
        raise ConfigError(f"{FILE_VARIABLE}: {place}: {problem.strerror}") from None
    except OSError as problem:
        raise ConfigError(f"{FILE_VARIABLE}: {place} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{FILE_VARIABLE}: {place} is no text") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{FILE_VARIABLE}: others can read {place} (mode {mode:04o}): chmod 600 {place}")
    found = {}
    for number, name, value in _lines(text):
        if not _VARIABLE.fullmatch(name):
            raise ConfigError(f"{FILE_VARIABLE}: line {number} of {place} is not CLOAKBENCH_SERVICE_KEY=VALUE")
        found[name] = value
    return found
