"""``cloakbench service check`` and ``service clean``: does a service answer, and what have killed runs left there?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import compose_config, missing_settings, resolved, split_config_dirs
from cloakbench.bench.config.flags import is_name, nearest
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.escape import terminal
from cloakbench.bench.core.files.file_lock import exclusive
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.core.status import OK
from cloakbench.bench.experiment.parts import build_dataset
from cloakbench.bench.services.building import build_service
from cloakbench.bench.services.call_rate import CallRate
from cloakbench.bench.services.consent import Intention, require_consent
from cloakbench.bench.services.galleries import Galleries
from cloakbench.bench.services.keys import keys_for
from cloakbench.bench.services.places import Places
from cloakbench.bench.services.preparing import PictureRule
from cloakbench.models.pictures import Picture
from cloakbench.models.service_keys import ServiceKeys
from cloakbench.models.services import (
    ATTRIBUTES,
    COMPARE,
    RESULTS,
    Connection,
    RemoteService,
    ServiceAnswer,
    ServiceCard,
)

_ACTIONS = ("check", "clean")


@dataclass(frozen=True)
class _OneService:
    """A service as its config gives it, and where a store keeps what belongs to it."""

    config: DictConfig
    card: ServiceCard
    places: Places

    @property
    def _plain(self) -> Mapping[str, Any]:
        return resolved(self.config.service)

    @contextmanager
    def connected(self) -> Iterator[RemoteService]:
        """The service with its keys, at the rate that all processes keep together.

        Raises:
            ConfigError: there are no keys.
        """
        keys = keys_for(self.card)
        rate = CallRate(self.places.rate(self.card.name, keys), self.card.calls_per_second)
        service = build_service(self._plain, self.card.name, Connection(keys, lambda action: _ignore(rate.wait())))
        try:
            yield service
        finally:
            service.close()


def main(words: Sequence[str]) -> int:
    """``cloakbench service check|clean service=NAME``; status 1 when a question failed, or a gallery stayed."""
    config_dirs, rest = split_config_dirs(words)
    names = [word for word in rest if is_name(word)]
    overrides = [word for word in rest if not is_name(word)]
    if len(names) != 1 or names[0] not in _ACTIONS:
        meant = nearest(names[0], _ACTIONS) if names else ""
        raise ConfigError(f"say what to do: cloakbench service {'|'.join(_ACTIONS)} service=NAME{meant}")
    one = _one_service(compose_config(overrides, "one_service", config_dirs), names[0])
    return _check(one) if names[0] == "check" else _clean(one)


def _one_service(config: DictConfig, action: str) -> _OneService:
    if config.service is None:
        raise ConfigError(f"say which service: cloakbench service {action} service=NAME (see cloakbench list services)")
    if missing := missing_settings(config.service):
        raise ConfigError(f"set {', '.join(f'service.{key}=...' for key in missing)}")
    check_values(config)
    plain = resolved(config.service)
    built = build_service(plain, str(config.service.name), Connection(ServiceKeys("")))
    built.close()
    return _OneService(config, built.card, Places(Path(config.paths.store)))


def _check(one: _OneService) -> int:
    """Three questions about photos of the data set: the same person, two people, and attributes where they are told."""
    torch.set_num_threads(1)
    screen, config, card = Screen(), one.config, one.card
    dataset = build_dataset(config)
    if not card.on_this_machine:
        counts = {COMPARE: 2, ATTRIBUTES: 1} if ATTRIBUTES in card.operations else {COMPARE: 3}
        intention = Intention(card, f"3 photos of {dataset.name}", counts)
        for line in intention.lines():
            screen.path(line)
        require_consent(intention, config.remote.live, [card.name])  # it was named on the command line
        keys_for(card)  # before faces are rendered
    rule = PictureRule(str(config.picture), config.side_px, str(config.file))
    first, second, other = _pictures(rule, dataset)
    with one.connected() as service:
        answers = {
            "one person": service.compare(first, second),
            "two people": service.compare(first, other),
        }
        if ATTRIBUTES in card.operations:
            answers["attributes"] = service.attributes(first)
        else:
            answers["one photo"] = service.compare(first, first)
    for what, answer in answers.items():
        screen.path(f"{what}: {_told(answer)}")
    calls = sum(answer.calls for answer in answers.values())
    screen.path(f"{calls} requests; pictures: {rule.words}")
    return int(not all(answer.status in RESULTS for answer in answers.values()))


def _pictures(rule: PictureRule, dataset: Any) -> tuple[Picture, Picture, Picture]:
    """Two photos of one person and one of another.

    Raises:
        ConfigError: the data set has no such probes.
    """
    faces = dataset.faces("probe") if "probe" in dataset.roles() else None
    rows = [] if faces is None else list(faces.rows_by_identity().values())
    pair = next((own for own in rows if len(own) >= 2), None)
    if faces is None or pair is None or len(rows) < 2:
        raise ConfigError(f"data set {dataset.name} has no two photos of one person and one of another")
    other = next(own for own in rows if own is not pair)
    chosen = (pair[0], pair[1], other[0])
    made = [rule.of(faces.images[row], faces.images[row], dataset.photo(faces.image_id[row])) for row in chosen]
    return made[0], made[1], made[2]


def _told(answer: ServiceAnswer) -> str:
    if answer.status != OK:
        return terminal(f"{answer.status}: {answer.note}")
    parts = [] if answer.score is None else [f"score {answer.score:g}"]
    if answer.thresholds is not None:
        parts += [f"{score:g} at {far:g}" for far, score in answer.thresholds.by_far.items()]
    parts += [f"{name} {value}" for name, value in answer.attributes.items()]
    parts += [f"model {answer.model_version}"] if answer.model_version else []
    return terminal(f"{answer.status}: {', '.join(parts)}")


def _clean(one: _OneService) -> int:
    """Delete the galleries of this project, of whatever run, but not while a run of this store asks the service."""
    screen, card, places = Screen(), one.card, one.places
    with exclusive(places.lock(card.name), f"asking {card.name}"), one.connected() as service:
        galleries = Galleries(service, places.galleries(card.name), "clean")
        gone = galleries.clean()
        left = tuple(galleries.names())
    for name in gone:
        screen.path(f"deleted: {name}")
    screen.path(f"{card.title}: {len(gone)} galleries deleted" + (f", {len(left)} are left" if left else ""))
    return int(bool(left))


def _ignore(value: object) -> None:
    """A permit says nothing."""
