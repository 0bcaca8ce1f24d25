"""Consent before a picture leaves: whether the service takes it, and whether a person allowed it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.protocols.remote.questions import Questions
from cloakbench.bench.protocols.remote.remote_settings import RemoteSettings
from cloakbench.bench.services.consent import Intention, require_consent
from cloakbench.models.services import COMPARE, ENROL, SEARCH, ServiceCard

log = logging.getLogger(__name__)


def check_asked(
    card: ServiceCard, questions: Questions, operations: Sequence[str], not_offered: Mapping[str, str]
) -> None:
    """Refuse a service that offers nothing of what is asked, and pictures that it does not take, from the first of
    them. What else it does not offer is said, and becomes a gap.

    Args:
        card: of the service.
        questions: to it.
        operations: that are asked.
        not_offered: operations that those who serve lack beside the card, and why.

    Raises:
        ConfigError: it is refused; one line.
    """
    lacking = [one for one in operations if one not in card.operations or one in not_offered]
    reasons = {**card.not_offered, **not_offered}
    told = "; ".join(f"{one} ({reasons[one]})" if reasons.get(one) else one for one in lacking)
    if len(lacking) == len(operations):
        raise ConfigError(
            f"service {card.name} does not offer {told}, and is asked nothing else: set protocols.remote.operations, "
            "or leave it out of protocols.remote.services"
        )
    if lacking:
        log.warning("service %s does not offer %s: a gap", card.name, told)
    picture = questions.first_picture()
    for operation in operations:
        if operation not in lacking and (why := card.pictures.refusal(picture, operation)):
            raise ConfigError(
                f"service {card.name} does not take pictures such as the first one for {operation}: {why}; set "
                "protocols.remote.side_px or picture"
            )


def most_questions(card: ServiceCard, questions: Questions, photos: int, impostor_pairs: int = 0) -> dict[str, int]:
    """How many questions about so many photos a service is asked at most, by operation, impostor pairs among the
    comparisons; and pictures to enrol."""
    every = questions.photos
    counts = {operation: -(-count * photos // every) for operation, count in questions.counts(range(every)).items()}
    counts = {operation: count for operation, count in counts.items() if operation in card.operations}
    if impostor_pairs:
        counts[COMPARE] = counts.get(COMPARE, 0) + impostor_pairs
    return counts | ({ENROL: questions.gallery_size} if SEARCH in counts else {})


def questions_in_words(card: ServiceCard, counts: Mapping[str, int | None]) -> str:
    """Who would be asked, where that is, and how much; None stands for what only the photos can tell."""
    where = "on this machine" if card.on_this_machine else f"at {card.host}"
    told = ", ".join(f"{'?' if count is None else count} {operation}" for operation, count in counts.items())
    return f"{card.title} {where} is asked at most {told or 'nothing'}"


def say_and_ask(
    card: ServiceCard,
    questions: Questions,
    planning: Planning,
    photos: int,
    settings: RemoteSettings,
    impostor_pairs: int = 0,
) -> None:
    """Say what goes where, how often, at what price and under which terms, and stop where nobody accepted it.

    Raises:
        ConfigError: ``remote.live`` or ``remote.accept`` is missing, or a limit of costs knows no prices.
    """
    about = f"at most {photos} photos of {planning.dataset.name}, clean and protected,"
    if impostor_pairs:
        about = f"{about} and those of {impostor_pairs} impostor pairs"
    intention = Intention(card, about, most_questions(card, questions, photos, impostor_pairs))
    for line in intention.lines():
        log.warning("%s", line)
    if settings.max_cost is not None and intention.unpriced:
        raise ConfigError(
            f"service {card.name}: remote.max_cost={settings.max_cost:g} limits nothing without the price of "
            f"{' and '.join(intention.unpriced)}: +services.KEY.line.price_per_call.{intention.unpriced[0]}=PRICE, or 0"
        )
    require_consent(intention, settings.live, settings.accept)
