"""`model_card`: the card of a recogniser as Markdown with a head of YAML, as model hubs read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import yaml

from cloakbench.bench.core.escape import markdown
from cloakbench.bench.report.estimate import text

_LICENCES = {"MIT": "mit"}
"""Names of licences as hubs spell them; every other one is ``other``, with its own name beside it."""


def model_card(card: Mapping[str, Any]) -> str:
    """A card.

    Args:
        card: a row of ``Results.models``.
    """
    licence = text(card["licence_weights"]) or "unknown"
    head: dict[str, Any] = {"license": _LICENCES.get(licence, "other")}
    if head["license"] == "other":
        head["license_name"] = licence
    head |= {"tags": ["face-recognition", "cloakbench"], "pipeline_tag": "image-feature-extraction"}
    clean = card["clean_top1"]
    if pd.notna(clean):  # it was measured
        metric = {"type": "accuracy", "name": "clean Top-1, leave-one-out", "value": round(float(clean), 4)}
        task = {"type": "image-feature-extraction"}
        data = {"name": text(card["training_set"]), "type": "other"}
        result = {"task": task, "dataset": data, "metrics": [metric]}
        head["model-index"] = [{"name": card["name"], "results": [result]}]
    facts = {
        "Family": card["family"],
        "Backbone": card["backbone"],
        "Head": card["head"],
        "Training set": card["training_set"],
        "Embedding size": card["embedding_size"],
        "Stands for": card["stands_for"],
        "Hardened": "yes" if card["robust"] else "",
        "Weights, SHA-256": card["weights_sha256"],
        "Licence of the code": card["licence_code"],
        "Licence of the weights": licence,
        "Licence of the training data": card["licence_training_data"],
        "Page": card["page"],
        "Roles in the run": card["roles"],
        "Note": card["note"],
    }
    lines = [f"- {name}: {markdown(text(value))}" for name, value in facts.items() if text(value)]
    return "\n".join(
        [
            "---",
            yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip(),
            "---",
            "",
            f"# {markdown(text(card['name']))}",
            "",
            "A face recogniser that took part in a run of CloakBench. It identifies people: use it to measure",
            "protection, and not on anybody who has not agreed.",
            "",
            *lines,
            "",
        ]
    )
