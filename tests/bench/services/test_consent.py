"""What is said before pictures leave, and how services are built."""

from __future__ import annotations

import re
from typing import Any

import pytest
from emulators.fleet import CONF, EMULATORS
from omegaconf import OmegaConf

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.services.building import build_service
from cloakbench.bench.services.consent import Intention, require_consent
from cloakbench.models.service_keys import ServiceKeys
from cloakbench.models.services import Connection


def config_of(name: str, **line: Any) -> dict[str, Any]:
    config: Any = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    return config | {"line": config["line"] | line}


def build(config: dict[str, Any]) -> Any:
    return build_service(config, "asked", Connection(ServiceKeys("k", "s")))


@pytest.mark.parametrize("name", [name for name in EMULATORS if name != "local"])
def test_a_card_says_what_a_person_has_to_know(name: str) -> None:
    line = {"base_url": "https://resource.cognitiveservices.azure.com"} if name == "azure" else {}
    card = build(config_of(name, **line)).card
    assert card.name == name and card.title and card.api_version and card.terms.startswith("https://")
    assert re.fullmatch(r"[a-z0-9.-]+\.(com|cn)", card.host) and re.fullmatch(r"\d{4}-\d\d-\d\d", card.read_on)
    assert card.operations | set(card.not_offered) == {"compare", "search", "attributes"}
    assert card.price_per_call == {}  # prices are nobody's but the contract's


def test_an_intention_says_what_goes_where_at_what_price_and_terms() -> None:
    card = build(config_of("baidu", price_per_call={"compare": 0.003}, calls_per_second=2)).card
    said = "\n".join(Intention(card, "40 photos of lfw", {"compare": 200, "search": 0}).lines())
    assert said == (
        "Baidu: 40 photos of lfw go to aip.baidubce.com, API v3\n"
        "  calls: 200 compare; at 2 a second at least 100 s\n"
        "  cost: 0.60 CNY at the configured prices\n"
        "  terms: https://ai.baidu.com/tech/face (facts of 2026-11-20)"
    )
    unpriced = Intention(card, "40 photos of lfw", {"compare": 200, "search": 3}).lines()[2]
    assert unpriced == "  cost: not known: set line.price_per_call of search"


def test_what_takes_several_calls_is_told_and_priced_as_several() -> None:
    config = config_of("azure", base_url="https://r.cognitiveservices.azure.com", price_per_call={"compare": 0.001})
    lines = Intention(build(config).card, "40 photos of lfw", {"compare": 200}).lines()
    assert lines[1:3] == (
        "  calls: 600 compare; at 0.33 a second at least 1818 s",
        "  cost: 0.60 USD at the configured prices",
    )


def test_nothing_leaves_unless_a_person_says_so_twice() -> None:
    intention = Intention(build(config_of("baidu")).card, "40 photos", {"compare": 1})
    with pytest.raises(ConfigError, match=r"with remote\.live=true only"):
        require_consent(intention, False, ["baidu"])
    with pytest.raises(ConfigError, match=r"say remote\.accept=\[baidu\]"):
        require_consent(intention, True, ["facepp"])
    require_consent(intention, True, ["baidu", "facepp"])


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("facepp", {"calls_per_second": 0}, "services.asked.line.calls_per_second is 0: it must be"),
        ("facepp", {"attempts": 0}, "services.asked.line.attempts is 0: it must be"),
        ("facepp", {"price_per_call": {"compare": -1}}, "services.asked.line.price_per_call.compare is -1"),
        ("facepp", {"base_url": "http://api.example"}, "services.asked: base_url is http://api.example: pictures"),
        ("baidu", {"authentication": "none"}, "services.asked.authentication is none: it must be one of token, bce"),
        ("tencent", {"comparison": "x"}, "services.asked.comparison is x: it must be one of CompareFace, Detect"),
        ("facepp", {"_target_": "cloakbench.models.pictures.PictureLimits"}, "services.asked: "),
    ],
)
def test_a_wrong_setting_is_one_line(name: str, changes: dict[str, Any], said: str) -> None:
    config = config_of(name)
    for setting, value in changes.items():
        (config if setting in config else config["line"])[setting] = value
    with pytest.raises(ConfigError) as raised:
        build(config)
    assert str(raised.value).startswith(said) and "\n" not in str(raised.value)
