"""A made-up run with the shape of a real one: what the measured prototype of the default world looked like."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from cloakbench.bench.engine.transforms import Brightness, GaussianBlur, Jpeg
from cloakbench.bench.plan.condition import AS_PUBLISHED
from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.protocols.quality.learnt import Lpips
from cloakbench.bench.protocols.quality.metrics import L2, Linf, MsSsim, Psnr, Ssim
from cloakbench.bench.protocols.verification.protocol import Verification
from cloakbench.bench.report.results import (
    CONDITION_COLUMNS,
    MEASUREMENT_COLUMNS,
    METRIC_COLUMNS,
    PROTOCOL_COLUMNS,
    Example,
    Results,
)

# name, roles, family, backbone, head, stands_for, robust, clean Top-1, how hard it is to transfer to
MODELS = [
    ("arcface", "surrogate, target", "ir", "iresnet_slim", "arcface", "IR-50", False, 0.982, 0.0),
    ("softmax", "surrogate", "inception", "inception_slim", "softmax", "", False, 0.963, 0.0),
    ("cosface", "surrogate, target", "mobilefacenet", "mobilefacenet", "cosface", "", False, 0.957, 0.6),
    ("sface", "target", "ir", "iresnet_slim", "sface", "", False, 0.974, -0.6),
    ("mobilenet", "target", "mobilenet", "mobilenet_v2", "arcface", "", False, 0.951, 0.9),
    ("senet", "target", "se_resnet", "se_resnet_slim", "cosface", "SE-ResNet-50", False, 0.968, 0.5),
    ("ir50", "target", "ir_56", "iresnet_slim_56", "cosface", "IR-50", False, 0.981, 0.2),
    ("inception_resnet", "target", "inception", "inception_slim", "cosface", "Inception-ResNet-v1", False, 0.959, 1.2),
    ("arcface_hardened", "target", "ir", "iresnet_slim", "arcface", "", True, 0.913, 3.0),
]
# method: strength in logits at 8/255 on an average target, SSIM at 8/255, scope, forward and backward passes per photo
METHODS = {
    "fgsm": (-0.9, 0.885, "image", 1, 1),
    "pgd": (0.3, 0.888, "image", 10, 10),
    "mi_fgsm": (0.9, 0.880, "image", 10, 10),
    "ti_dim": (1.0, 0.884, "image", 10, 10),
    "vmi_fgsm": (1.5, 0.878, "image", 210, 210),
    "fi_uap": (0.1, 0.902, "identity", 25.6, 25.6),
    "opom_affine_hull": (0.6, 0.881, "identity", 25.6, 25.6),
    "opom_class_center": (0.9, 0.876, "identity", 25.6, 25.6),
    "opom_convex_hull": (1.2, 0.875, "identity", 25.6, 25.6),
}
TRANSFORMS = ("jpeg_90", "jpeg_75", "jpeg_50", "gaussian_blur_1", "gaussian_blur_2", "brightness_0.8", "brightness_1.2")


class Recorder:
    """Collects measurement rows."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, protocol: str, metric: str, method: str, value: float, **fields: Any) -> None:
        row: dict[str, Any] = dict.fromkeys(MEASUREMENT_COLUMNS, "")
        row |= {"protocol": protocol, "metric": metric, "method": method, "value": value, "condition": "none"}
        row |= {"n": 500, "n_failed": 0, "n_identities": 50, "white_box": False, "same_family": False, "status": "ok"}
        row |= {"epsilon_255": math.nan, "low": math.nan, "high": math.nan}
        self.rows.append(row | fields)

    def rate(self, protocol: str, metric: str, method: str, rate: float, n: int, **fields: Any) -> None:
        half = 1.96 * math.sqrt(rate * (1 - rate) * 3 / n)
        value = round(rate * n) / n
        interval = {"low": max(0.0, value - half), "high": min(1.0, value + half), "n": n}
        self.add(protocol, metric, method, value, **interval, **fields)

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=list(MEASUREMENT_COLUMNS))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def build(
    budgets: tuple[float, ...] = (4.0, 8.0),
    transforms: tuple[str, ...] = TRANSFORMS,
    methods: tuple[str, ...] = tuple(METHODS),
    failures: bool = True,
    seed: int = 0,
) -> Results:
    rng = np.random.default_rng(seed)
    record = Recorder()
    targets = [model for model in MODELS if "target" in model[1]]
    surrogates = [model for model in MODELS if model[0] in ("arcface", "cosface")]
    runs: list[tuple[str, float, Any]] = [("identity", math.nan, None)]
    for epsilon in budgets:
        runs.append(("random_sign", epsilon, None))
        runs += [(method, epsilon, surrogate) for surrogate in surrogates for method in methods]
    jitter = {(s[0], t[0]): rng.normal(0, 0.5) for s in surrogates for t in targets}
    for method, epsilon, surrogate in runs:
        for target in targets:
            pair = {
                "epsilon_255": epsilon,
                "surrogate": surrogate[0] if surrogate else "",
                "judge": target[0],
                "white_box": bool(surrogate and surrogate[0] == target[0]),
                "same_family": bool(surrogate and surrogate[2] == target[2] and surrogate[0] != target[0]),
            }
            score = _score(method, epsilon, surrogate, target, pair)
            if surrogate and not pair["white_box"]:
                score += jitter[surrogate[0], target[0]]
            for transform in ("none", *transforms):
                change = 0.0
                if transform != "none":
                    change = rng.uniform(-0.8, 0) if surrogate else rng.uniform(0, 0.4)
                for rule, n, easier in (("p1", 4500, 0.9), ("p2", 500, 0.0)):
                    for k, drop in ((1, 0), (5, 1.1), (10, 1.6)):
                        rate = sigmoid(score + change + easier - drop)
                        record.rate(
                            "identification", f"psr_{rule}_top{k}", method, rate, n, condition=transform, **pair
                        )
                        if transform == "none":
                            name = f"psr_{rule}_top{k}_given_clean"
                            record.rate("identification", name, method, max(rate - 0.02, 0), int(n * 0.97), **pair)
            for far, drop in (("1e-1", 2.0), ("1e-2", 0.3), ("1e-3", -0.9)):
                record.rate("verification", f"dodging_far_{far}", method, sigmoid(score - drop), 2000, **pair)
                record.rate("verification", f"impersonation_far_{far}", method, sigmoid(score - 7 + drop), 500, **pair)
        _quality(record, method, epsilon, surrogate)
    frame = record.frame()
    if failures:
        frame = _break(frame)
    return Results(
        name="default",
        dataset="synthetic world v1",
        manifest_sha256="4f1d" * 16,
        measurements=frame.sample(frac=1, random_state=seed, ignore_index=True),
        models=_models(),
        costs=_costs(runs, rng),
        methods=_methods({run[0] for run in runs}),
        thresholds=_thresholds([target[0] for target in targets]),
        examples=tuple(_example(f"id{i:03d}_p0", methods, max(budgets), i) for i in range(4)),
        setup={"identities": 50, "probes_per_identity": 10, "distractors": 2000, "seed": 0, "resamples": 2000},
        protocols=protocols(),
        metrics=declared(),
        conditions=conditions(transforms),
    )


def _score(method: str, epsilon: float, surrogate: Any, target: Any, pair: dict[str, Any]) -> float:
    """Logit of the protection success rate."""
    if surrogate is None:
        return -3.3 + (0.02 * epsilon if method == "random_sign" else 0)
    if pair["white_box"]:
        return 6.0 + METHODS[method][0] - 0.5 * (8 - epsilon)
    return METHODS[method][0] - target[8] + 1.0 + 2.0 * pair["same_family"] - 0.6 * (8 - epsilon)


def _quality(record: Recorder, method: str, epsilon: float, surrogate: Any) -> None:
    where = {"epsilon_255": epsilon, "surrogate": surrogate[0] if surrogate else ""}
    if method == "identity":
        values = {"ssim": 1.0, "ms_ssim_w7": 1.0, "psnr": math.inf, "l2_255": 0.0, "linf_255": 0.0}
    else:
        loss = (1 - METHODS.get(method, (0, 0.87))[1]) * (epsilon / 8) ** 1.6
        values = {
            "ssim": 1 - loss + (0.004 if surrogate and surrogate[0] == "cosface" else 0),
            "ms_ssim_w7": 1 - loss / 3,
            "psnr": 20 * math.log10(255 / epsilon),
            "l2_255": epsilon * 180,
            "linf_255": epsilon,
        }
    for metric, value in values.items():
        spread = 0.0 if method == "identity" else 0.01 * abs(value)
        record.add("quality", metric, method, value, low=value - spread, high=value + spread, **where)
    note = "LPIPS weights not found; set metrics.lpips.weights"
    record.add("quality", "lpips", method, math.nan, n=0, status="unavailable", note=note, **where)


def _break(frame: pd.DataFrame) -> pd.DataFrame:
    """A target that returned NaN for one method, a method that failed on three photos, a row that is not there."""
    broken = (frame.method == "vmi_fgsm") & (frame.epsilon_255 == 4) & (frame.judge == "senet")
    frame.loc[broken, ["value", "low", "high"]] = math.nan
    frame.loc[broken, "status"] = "target_failed"
    frame.loc[broken, "note"] = "senet returned NaN"
    some = (
        (frame.method == "ti_dim") & (frame.epsilon_255 == 8) & (frame.judge == "ir50") & (frame.surrogate == "arcface")
    )
    frame.loc[some, "n_failed"] = 3
    frame.loc[some, "n"] -= 3
    absent = (
        (frame.method == "fgsm") & (frame.epsilon_255 == 4) & (frame.judge == "sface") & (frame.surrogate == "cosface")
    )
    return frame[~absent]


def _models() -> pd.DataFrame:
    names = ["name", "roles", "family", "backbone", "head", "stands_for", "robust", "clean_top1"]
    return pd.DataFrame([model[:8] for model in MODELS if model[0] != "softmax"], columns=names)


def title_of(key: str) -> str:
    """Of the method's YAML."""
    path = Path(__file__).parents[3] / "conf" / "method" / f"{key}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))["title"]


def _methods(keys: set[str]) -> pd.DataFrame:
    columns = [
        "key",
        "variant",
        "varied",
        "title",
        "name",
        "scope",
        "goal",
        "needs",
        "targeted",
        "trained",
        "person_specific",
        "paper",
        "notes",
    ]
    goal = "evade recognition"
    scopes = {key: METHODS.get(key, (0, 0, "image"))[2] for key in sorted(keys, key=[*METHODS, *keys].index)}
    rows = [
        (
            key,
            "",
            "",
            title_of(key),
            key.partition("_")[0],
            scope,
            goal,
            "",
            False,
            False,
            scope == "identity",
            "",
            "",
        )
        for key, scope in scopes.items()
    ]
    return pd.DataFrame(rows, columns=columns)


def _costs(runs: list[tuple[str, float, Any]], rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for method, epsilon, surrogate in runs:
        _, _, scope, forward, backward = METHODS.get(method, (0, 0, "image", 0, 0))
        rows.append(
            {
                "method": method,
                "variant": "",
                "epsilon_255": epsilon,
                "surrogate": surrogate[0] if surrogate else "",
                "publication": "",
                "scope": scope,
                "images": 500,
                "seconds_per_image": (0.0002 + 0.0013 * forward) * rng.uniform(0.9, 1.1),
                "forward_per_image": float(forward),
                "backward_per_image": float(backward),
                "training_seconds": 0.0,
                "training_passes": 0,
                "peak_memory_mib": 480 + 20 * rng.uniform(),
                "status": "ok",
            }
        )
    return pd.DataFrame(rows)


def _thresholds(targets: list[str]) -> pd.DataFrame:
    rows = [
        {
            "judge": t,
            "far": far,
            "threshold": c,
            "low": c - 0.01,
            "high": c + 0.01,
            "n_pairs": 20000,
            "n_identities": 400,
        }
        for t in targets
        for far, c in (("1e-1", 0.21), ("1e-2", 0.36), ("1e-3", 0.48))
    ]
    return pd.DataFrame(rows)


def _example(image_id: str, methods: tuple[str, ...], epsilon: float, seed: int) -> Example:
    """A smooth blob of skin colour with eyes and a mouth stands for a face; sign noise in blocks for a mask."""
    y, x = np.mgrid[0:112, 0:112] / 111.0
    inside = ((x - 0.5) ** 2 / 0.14 + (y - 0.52) ** 2 / 0.22) < 1
    picture = np.stack([0.35 + 0.3 * y, 0.42 + 0.1 * seed * x, 0.55 - 0.2 * y])
    skin = np.array([0.85, 0.66, 0.55]) * (1 - 0.12 * seed)
    picture = np.where(inside, skin[:, None, None] * (1.05 - 0.5 * (x - 0.4) ** 2), picture)
    for cx, cy, r in ((0.36, 0.45, 0.045), (0.64, 0.45, 0.045), (0.5, 0.74, 0.07)):
        picture = np.where((x - cx) ** 2 + (y - cy) ** 2 * 2 < r**2, 0.15, picture)
    original = (255 * picture.clip(0, 1)).astype(np.uint8)
    protected = {}
    for number, method in enumerate(methods[:3]):
        rng = np.random.default_rng(100 * seed + number)
        noise = epsilon * np.sign(rng.normal(size=(3, 28, 28))).repeat(4, 1).repeat(4, 2)
        protected[f"{method} {epsilon:g}/255"] = torch.from_numpy((original + noise).clip(0, 255).astype(np.uint8))
    return Example(image_id, torch.from_numpy(original), protected)


_ROOM = "cloakbench.bench.protocols"
SETTINGS: dict[str, dict[str, Any]] = {
    "identification": {"_target_": f"{_ROOM}.identification.protocol.Identification", "ks": [1, 5, 10]},
    "verification": {"_target_": f"{_ROOM}.verification.protocol.Verification", "fars": [0.1, 0.01, 0.001]},
    "quality": {
        "_target_": f"{_ROOM}.quality.protocol.Quality",
        "image_metrics": {},
    },
}


def protocols(settings: dict[str, dict[str, Any]] = SETTINGS) -> pd.DataFrame:
    """What a run says of its protocols."""
    titles = {"quality": "Picture quality"}
    rows = [(key, key, titles.get(key, key.capitalize()), "", json.dumps(one)) for key, one in settings.items()]
    return pd.DataFrame(rows, columns=list(PROTOCOL_COLUMNS))


def declared() -> pd.DataFrame:
    """What a run says of its metrics."""
    images = (Ssim(), MsSsim(), Psnr(), Lpips(), L2(), Linf())
    metrics = {
        "identification": Identification().metrics,
        "verification": Verification().metrics,
        "quality": tuple(one.described for one in images),
    }
    rows = [{"protocol": name, **vars(one)} for name, some in metrics.items() for one in some]
    return pd.DataFrame(rows, columns=list(METRIC_COLUMNS))


def conditions(labels: tuple[str, ...]) -> pd.DataFrame:
    """What a run says of the conditions of its recognisers, such as ``jpeg_75``."""
    rows: list[tuple[Any, ...]] = [(AS_PUBLISHED.label, AS_PUBLISHED.title, "", math.nan, "", "up")]
    for label in labels:
        kind = next(kind for kind in (Jpeg, GaussianBlur, Brightness) if label.startswith(kind.family))
        strength = float(label.rpartition("_")[2])
        rows.append((label, kind.title, kind.family, strength, kind.axis, kind.order))
    named = [(protocol, *row) for protocol in ("identification", "verification") for row in rows]
    return pd.DataFrame(named, columns=list(CONDITION_COLUMNS))


def build_small() -> Results:
    """Two targets, one the surrogate; round numbers, for tables that are compared letter by letter."""
    record = Recorder()
    rates = {
        ("identity", "arcface"): 0.02,
        ("identity", "senet"): 0.04,
        ("random_sign", "arcface"): 0.03,
        ("random_sign", "senet"): 0.05,
        ("pgd", "arcface"): 1.0,
        ("pgd", "senet"): 0.5,
    }
    for (method, target), rate in rates.items():
        where = {
            "surrogate": "arcface" if method == "pgd" else "",
            "judge": target,
            "epsilon_255": math.nan if method == "identity" else 8.0,
            "white_box": method == "pgd" and target == "arcface",
        }
        for k in (1, 5):
            value = rate / k
            interval = {"low": value * 0.9, "high": min(1.0, value * 1.1), "n": 100}
            record.add("identification", f"psr_p2_top{k}", method, value, **interval, **where)
    return Results(
        name="small",
        dataset="synthetic world v1",
        manifest_sha256="ab" * 32,
        measurements=record.frame(),
        models=_models().query("name in ('arcface', 'senet')"),
        costs=_costs([], np.random.default_rng(0)),
        methods=_methods({"identity", "random_sign", "pgd"}),
        thresholds=pd.DataFrame(),
        setup={"identities": 10, "seed": 0},
        protocols=protocols(),
        metrics=declared(),
        conditions=conditions(()),
    )


@pytest.fixture(scope="session")
def make_results() -> Callable[..., Results]:
    return build


@pytest.fixture(scope="session")
def results() -> Results:
    return build()


@pytest.fixture
def small() -> Results:
    return build_small()
