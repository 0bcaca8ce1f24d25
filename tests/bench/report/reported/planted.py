"""A planted run: a lookup whose every number is written down in the test."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.reported.pairings import GAIN_ENDINGS, load_pairings
from cloakbench.bench.report.reported.printed import load_lines
from cloakbench.bench.report.results import MEASUREMENT_COLUMNS, Results

CARDS = ("name", "roles", "family", "backbone", "head", "stands_for", "robust")
METHODS = ("key", "variant", "varied", "targeted")
SURROGATE = ("source", "surrogate, target", "ir", "IResNet", "CosFace", "IR-50", False)
TARGETS = (
    ("mobile", "target", "mobilenet", "MobileNet", "CosFace", "MobileNet v1", False),
    ("squeeze", "target", "se_resnet", "FaceResNet", "CosFace", "SE-ResNet", False),
    ("arc", "target", "mobilefacenet", "MobileFaceNet", "ArcFace", "MobileFaceNet", False),
    ("inception", "target", "inception_resnet", "InceptionResnetV1", "Softmax", "Inception-ResNet-v1", False),
    ("cos", "target", "mobilefacenet", "MobileFaceNet", "CosFace", "MobileFaceNet", False),
)

VEIL_SURROGATES = tuple(
    (head.lower(), "surrogate, target", "ir", "IResNet", head, "IR-50", False)
    for head in ("Softmax", "CosFace", "ArcFace")
)


def cell(protocol: str, metric: str, method: str, value: float, half: float = 0.01, **fields: Any) -> dict[str, Any]:
    """One row of measurements with the interval ``value`` plus and minus ``half``."""
    row: dict[str, Any] = dict.fromkeys(MEASUREMENT_COLUMNS, "") | {"condition": "none", "status": "ok"}
    row |= {"protocol": protocol, "metric": metric, "method": method, "epsilon_255": 8.0}
    row |= {"value": value, "low": value - half, "high": value + half, "n": 100, "n_failed": 0, "n_identities": 50}
    return row | {"white_box": False, "same_family": False} | fields


def identification(method: str, values: dict[str, float], metric: str = "psr_p1_top1", **fields: Any) -> list[dict]:
    """A method on the surrogate ``source``, white-box on itself."""
    rows = []
    for target, value in values.items():
        where = {"surrogate": "source", "judge": target, "white_box": target == "source"}
        rows.append(cell("identification", metric, method, value, **(where | fields)))
    return rows


def planted(
    rows: list[dict[str, Any]],
    cards: tuple[tuple[Any, ...], ...] = (SURROGATE, *TARGETS),
    dataset: str = "synthetic",
    targeted: tuple[str, ...] = (),
) -> Lookup:
    """A lookup over the rows."""
    keys = sorted({(row["method"], row["variant"]) for row in rows})
    methods = pd.DataFrame([(*key, "", key[0] in targeted) for key in keys], columns=list(METHODS))
    results = Results(
        name="planted",
        dataset=dataset,
        manifest_sha256="",
        measurements=pd.DataFrame(rows, columns=list(MEASUREMENT_COLUMNS)),
        models=pd.DataFrame(cards, columns=list(CARDS)),
        costs=pd.DataFrame(),
        methods=methods,
        thresholds=pd.DataFrame(),
    )
    return Lookup(Measured(results))


def veil_rows(name: str) -> list[dict[str, Any]]:
    """The numbers that a table of the veils prints, as if they were measured on `VEIL_SURROGATES`."""
    pairing = load_pairings().tables[name]
    networks = dict(zip(("s_resnet", "l_resnet", "a_resnet"), VEIL_SURROGATES, strict=True))
    return [
        cell(
            "visual",
            pairing.metrics[line["metric"]],
            pairing.methods[line["method"]].method,
            line["value"],
            0.0,
            surrogate=networks[line["surrogate"]][0],
            epsilon_255=math.nan,
        )
        for line in load_lines()[name]
        if not line["metric"].endswith(GAIN_ENDINGS)
    ]
