"""Real faces and a published recogniser behind the local service: decisions are those of this process."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from emulators.fleet import CONF
from omegaconf import OmegaConf
from PIL import Image
from real_pack import PACK, requires_pack
from torch import Tensor

from cloakbench.bench.config.compose import compose_config, resolved
from cloakbench.bench.config.networks import build_recogniser
from cloakbench.bench.core.status import OK
from cloakbench.bench.protocols.recognition.responses import cosine
from cloakbench.bench.services.building import build_service
from cloakbench.bench.services.local.server import start
from cloakbench.bench.services.local.settings import LocalSettings
from cloakbench.bench.services.preparing import PictureRule
from cloakbench.models.base import embed_in_batches
from cloakbench.models.service_keys import ServiceKeys
from cloakbench.models.services import Connection

pytestmark = requires_pack

PEOPLE, DIGITS = 20, 3
THRESHOLD = 0.3


def crops() -> Tensor:
    """Two aligned photos of each of some people, uint8 ``[N, 3, 112, 112]``."""
    entries = json.loads((PACK / "MANIFEST.json").read_text(encoding="utf-8"))["images"]
    by_person: dict[str, list[str]] = {}
    for entry in entries:
        if entry.get("subset") == "lfw" and entry.get("aligned"):
            by_person.setdefault(entry["identity"], []).append(entry["aligned"])
    chosen = [path for _, paths in sorted(by_person.items())[:PEOPLE] for path in paths[:2]]
    images = [torch.tensor(np.array(Image.open(PACK / path).convert("RGB"))) for path in chosen]
    return torch.stack(images).permute(0, 3, 1, 2).contiguous()


def test_decisions_behind_serve_are_those_of_the_identification_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes are the first photo of each person, the gallery is the second of everybody."""
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(PACK / "weights"))
    config = compose_config(["model=mobilefacenet_casia"], "recogniser")
    model = build_recogniser(resolved(config.model), "mobilefacenet_casia")
    images = crops()
    embeddings = embed_in_batches(model, images, 100, torch.device("cpu"))
    cosines = cosine(embeddings[0::2, None], embeddings[None, 1::2]).double()
    pictures = [PictureRule("upsample", 112).of(image, image) for image in images]
    settings = LocalSettings(score_digits=DIGITS)
    with start(model, thresholds={0.001: THRESHOLD}, settings=settings) as server:
        plain: Any = OmegaConf.to_container(OmegaConf.load(CONF / "local.yaml"))
        plain["line"]["base_url"] = server.url
        service = build_service(plain, "local", Connection(ServiceKeys("")))
        assert service.found("cb_real").status == OK
        for number in range(PEOPLE):
            assert service.enrol("cb_real", {f"p{number}": pictures[2 * number + 1]}).status == OK
        accepted = 0
        for number in range(PEOPLE):
            expected = 50 * (1 + cosines[number])
            found = service.search("cb_real", pictures[2 * number], PEOPLE).matches
            order = [int(match.face.partition(".")[0][1:]) for match in found]
            scores = torch.tensor([match.score for match in found], dtype=torch.float64)
            # As the protocol ranks, but for what the digits hide.
            assert (scores - expected[order]).abs().max() <= 0.51 * 10**-DIGITS
            assert sorted(order) == list(range(PEOPLE)) and order[0] == int(cosines[number].argmax())
            one = service.compare(pictures[2 * number], pictures[2 * number + 1])
            assert one.score is not None and one.thresholds is not None
            assert abs(one.score - float(expected[number])) <= 0.51 * 10**-DIGITS
            assert (one.score > one.thresholds.by_far[0.001]) == bool(cosines[number, number] > THRESHOLD)
            accepted += one.score > one.thresholds.by_far[0.001]
    assert accepted >= 0.9 * PEOPLE
