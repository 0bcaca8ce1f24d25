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
    """The keys of a service; one on this machine needs none, unless the environment has them.

    Raises:
        ConfigError: there are none, as for `keys_of`.
    """
    needless = card.on_this_machine and not environment.get(variable(card.name, "KEY"))
    return ServiceKeys("") if needless else keys_of(card.name, environment)


def variable(service: str, part: str) -> str:
    """The variable with a part of a service's keys."""
    return f"CLOAKBENCH_{re.sub(r'[^A-Z0-9]+', '_', service.upper())}_{part}"


def refuse_keys(
    words: Sequence[str], config: Mapping[str, Any] | None = None, environment: Mapping[str, str] = os.environ
) -> None:
    """Refuse keys on the command line and in a config.

    Args:
        words: of the command line, as they were typed.
        config: composed from them and from YAML files, as plain values.
        environment: whose keys may not be in either.

    Raises:
        ConfigError: there is one; the line says where, and not what.
    """
    known = [value for name, value in environment.items() if _VARIABLE.fullmatch(name) and len(value) >= _SHORTEST]
    for word in words:
        name, _, value = word.lstrip("+~-").partition("=")
        if value and (_names_key(name.split(".")) or any(key in value for key in known)):
            raise ConfigError(_refusal(f"{name} on the command line"))
    for path, value in _texts(config or {}, ()):
        if _names_key(path) or any(key in value for key in known):
            raise ConfigError(_refusal(f"{'.'.join(path)} in the config"))


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


def _from_file(environment: Mapping[str, str]) -> dict[str, str]:
    place = environment.get(FILE_VARIABLE, "").strip()
    if not place:
        return {}
    try:
        with open_regular(place) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError(f"{FILE_VARIABLE}: others can read {place} (mode {mode:04o}): chmod 600 {place}")
            text = file.read().decode()
    except NotRegularError as problem:
        raise ConfigError(f"{FILE_VARIABLE}: {place}: {problem.strerror}") from None
    except OSError as problem:
        raise ConfigError(f"{FILE_VARIABLE}: {place} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{FILE_VARIABLE}: {place} is no text") from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, mark, value = (part.strip() for part in line.partition("="))
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not mark or not _VARIABLE.fullmatch(name):
            raise ConfigError(f"{FILE_VARIABLE}: line {number} of {place} is not CLOAKBENCH_SERVICE_KEY=VALUE")
        found[name] = value
    return found
