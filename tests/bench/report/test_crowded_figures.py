"""Figures with many methods and targets: every word can be read, and every method is told from every other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib.text
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from cloakbench.bench.report.drawing.plotting import COLOURS, Skipped, figure_bytes, look_of
from cloakbench.bench.report.drawing.side_labels import spread
from cloakbench.bench.report.drawing.words import shortened, width_inches, wrapped
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.reporters import reporters
from cloakbench.bench.report.results import MEASUREMENT_COLUMNS, Example, Results
from cloakbench.bench.report.sweeps.figures import sweep_figures
from cloakbench.bench.report.sweeps.parts import SweepJob, arrange

METHODS, TARGETS = 25, 12
TITLES = sorted(
    {
        str(yaml.safe_load(path.read_text(encoding="utf-8"))["title"])
        for path in (Path(__file__).parents[3] / "conf" / "method").glob("*.yaml")
    }
    - {"Clean photo", "Random sign (control)"},
    key=lambda title: (-len(title), title),
)[:METHODS]
"""The longest that there are."""
TARGET_NAMES = [
    "cosface_mobilefacenet",
    "cosface_inception_resnet",
    "arcface_mobilefacenet",
    *(f"partial_fc_glint360k_iresnet_{number}" for number in range(TARGETS - 3)),
]
ATTACKERS = ("mobilefacenet", "inception_resnet", "resnet18", "vgg11")
SCENARIOS = ("standard", "standard_unprotected_0.2", "adversarial")
TRANSFORMS = ("jpeg_90", "jpeg_75", "jpeg_50", "gaussian_blur_1", "gaussian_blur_2", "brightness_0.8", "brightness_1.2")
IDENTIFIED = ["psr_p2_top1", "psr_p2_top5"]


def crowd(make_results: Callable[..., Results], budgets: tuple[float, ...]) -> Results:
    """A run of 25 methods under their real names, on 12 targets, with poisoning by 4 attackers in 3 scenarios."""
    base = make_results(methods=("pgd",), transforms=TRANSFORMS, budgets=budgets, failures=False)
    frame = base.measurements
    frame = frame[
        frame["metric"].isin([*IDENTIFIED, "ssim"]) & (frame["judge"].isin(["arcface", "cosface", "sface", ""]))
    ]
    by_target = [frame[frame["judge"] != "sface"]]
    by_target += [
        _shifted(frame[frame["judge"] == "sface"], 0.02 * number).assign(judge=name)
        for number, name in enumerate(TARGET_NAMES[2:])
    ]
    frame = pd.concat(by_target)
    renamed = dict(zip(["arcface", "cosface"], TARGET_NAMES, strict=False))
    frame = frame.assign(judge=frame["judge"].replace(renamed), surrogate=frame["surrogate"].replace(renamed))
    keys = [f"method_{number}" for number in range(METHODS)]
    of_method = frame[frame["method"] == "pgd"]
    frames = [frame[frame["method"] != "pgd"]]
    frames += [_shifted(of_method, 0.01 * number).assign(method=key) for number, key in enumerate(keys)]
    lines = base.methods.set_index("key")
    methods = pd.DataFrame(
        [
            {**lines.loc["pgd"], "key": "identity", "title": "Clean photo"},
            {**lines.loc["pgd"], "key": "random_sign", "title": "Random sign (control)"},
            *({**lines.loc["pgd"], "key": key, "title": title} for key, title in zip(keys, TITLES, strict=True)),
        ]
    )
    models = pd.DataFrame([{**base.models.iloc[0], "name": name} for name in TARGET_NAMES])
    poisoned = _poisoning(keys)
    settings = {"_target_": "cloakbench.bench.protocols.poisoning.protocol.Poisoning", "_recursive_": False}
    settings |= {"methods": {}, "attackers": {attacker: {} for attacker in ATTACKERS}, "regimes": {"standard": {}}}
    poisoning = pd.DataFrame(
        [("poisoning", "poisoning", "Poisoning", "poisoning", json.dumps(settings))], columns=base.protocols.columns
    )
    return replace(
        base,
        measurements=pd.concat([*frames, poisoned], ignore_index=True),
        methods=methods,
        models=models,
        costs=_costs(base.costs, keys, renamed),
        examples=tuple(
            _example(number, ["random_sign", *keys, *(f"more_{n}" for n in range(8))]) for number in range(4)
        ),
        setup={**base.setup, "poisoning_identities": 20},
        protocols=pd.concat([base.protocols, poisoning], ignore_index=True),
    )


def _shifted(frame: pd.DataFrame, lower: float) -> pd.DataFrame:
    columns = ["value", "low", "high"]
    return frame.assign(**{name: (frame[name] - lower).clip(lower=0) for name in columns})


def _costs(costs: pd.DataFrame, keys: list[str], renamed: dict[str, str]) -> pd.DataFrame:
    """Every method takes half as many passes again as the one before it."""
    costs = costs[costs["method"] == "pgd"].replace({"surrogate": renamed})
    return pd.concat(
        [costs.assign(method=key, forward_per_image=10 * 1.5**number) for number, key in enumerate(keys)],
        ignore_index=True,
    )


def _poisoning(keys: list[str]) -> pd.DataFrame:
    empty = dict.fromkeys(MEASUREMENT_COLUMNS, "")
    where = {
        "protocol": "poisoning",
        "n": 60,
        "n_failed": 0,
        "n_identities": 20,
        "white_box": False,
        "same_family": False,
    }
    rows = []
    for number, method in enumerate(["identity", "random_sign", *keys]):
        one = {**empty, **where, "status": "ok", "method": method, "epsilon_255": np.nan if number == 0 else 8.0}
        rows.append({**one, "metric": "ssim", "condition": "none", "value": 0.9, "low": 0.89, "high": 0.91})
        for attacker, scenario in itertools.product(ATTACKERS, SCENARIOS):
            value = 0.03 * number + 0.01 * len(attacker)
            ends = {"value": value, "low": max(0.0, value - 0.1), "high": min(1.0, value + 0.1)}
            rows.append({**one, "metric": "psr_poisoning", "judge": attacker, "condition": scenario, **ends})
    return pd.DataFrame(rows)


def _example(number: int, labels: list[str]) -> Example:
    picture = torch.full((3, 16, 16), 40 * number + 60, dtype=torch.uint8)
    return Example(f"face{number}", picture, {f"{label} 8/255": picture + 5 for label in labels})


Words = tuple[str, Bbox, Bbox]


def written(monkeypatch: pytest.MonkeyPatch, figure: Figure) -> list[Words]:
    """Every text that is drawn into the file: its words, its box, the figure's box."""
    found: dict[matplotlib.text.Text, Words] = {}  # some figures are drawn twice
    draw = matplotlib.text.Text.draw

    def noted(self: matplotlib.text.Text, renderer: object) -> None:
        if self.get_visible() and self.get_text().strip():
            assert self.figure is not None
            found[self] = (self.get_text(), self.get_window_extent(renderer), Bbox(self.figure.bbox.get_points()))
        draw(self, renderer)

    with monkeypatch.context() as patch:
        patch.setattr(matplotlib.text.Text, "draw", noted)
        figure_bytes(figure, ".png")
    return list(found.values())


def collisions(words: list[Words], least_px: float = 0.6) -> Iterator[str]:
    """Pairs of texts that share more than the rounding of a pixel, and texts that reach beyond the figure."""
    for (text, box, _), (other, another, _) in itertools.combinations(words, 2):
        width = min(box.x1, another.x1) - max(box.x0, another.x0)
        height = min(box.y1, another.y1) - max(box.y0, another.y0)
        if width > least_px and height > least_px:
            yield f"{text!r} runs into {other!r}"
    for text, box, figure in words:
        if box.x0 < -least_px or box.y0 < -least_px or box.x1 > figure.x1 + least_px or box.y1 > figure.y1 + least_px:
            yield f"{text!r} is cut off"


@pytest.fixture(scope="module")
def drawn(make_results: Callable[..., Results]) -> dict[str, Figure]:
    """Every figure that a report can hold, by its file stem."""
    found: dict[str, Figure] = {}
    for budgets in ((4.0, 8.0), (2.0, 4.0, 8.0)):
        measured = Measured(crowd(make_results, budgets))
        for one in reporters(measured.results):
            for spec in (figure for section in one.sections(measured) for figure in section.figures):
                drawing = spec.draw() if spec.name not in found else None
                if drawing is not None and not isinstance(drawing, Skipped):
                    found[spec.name] = drawing
    jobs = []
    for steps in (2, 5, 10):
        results = crowd(make_results, (8.0,))
        frame = results.measurements[results.measurements["condition"].isin(["none", "standard"])]
        jobs.append(SweepJob(replace(results, measurements=frame), {"method.steps": steps}))
    found |= {stem: figure for stem, (figure, _) in sweep_figures(arrange(jobs)).items()}
    return found


NAMES = [
    "psr_dots",
    "psr_ssim",
    "budget",
    "transfer",
    "robustness",
    "trade_off",
    "psr_passes",
    "faces",
    "poisoning",
    "variants_steps",
]


def test_every_figure_of_a_report_is_looked_at(drawn: dict[str, Figure]) -> None:
    assert sorted(drawn) == sorted([*NAMES, "variants_poisoning_steps"])


@pytest.mark.parametrize("name", [*NAMES, "variants_poisoning_steps"])
def test_no_two_texts_of_a_crowded_figure_intersect_and_none_is_cut_off(
    name: str, drawn: dict[str, Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = written(monkeypatch, drawn[name])
    assert len(words) > METHODS
    assert list(collisions(words)) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_method_is_named_in_a_crowded_figure(
    name: str, drawn: dict[str, Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "".join(text for text, _, _ in written(monkeypatch, drawn[name])).replace("\n", "").replace(" ", "")
    assert [title for title in TITLES if title.partition(" (")[0].replace(" ", "")[:18] not in said] == []


def test_a_collision_and_a_cut_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = Figure(figsize=(3, 2))
    figure.text(0.1, 0.5, "OPOM-AffineHull")
    figure.text(0.3, 0.5, "OPOM-ConvexHull")
    figure.text(0.9, 0.1, "cut off")
    found = list(collisions(written(monkeypatch, figure)))
    assert found == ["'OPOM-AffineHull' runs into 'OPOM-ConvexHull'", "'cut off' is cut off"]


def test_no_two_of_25_methods_share_colour_and_marker_and_neighbours_share_neither() -> None:
    looks = [look_of(number) for number in range(METHODS)]
    assert len(set(looks)) == METHODS
    assert all(one[0] != other[0] and one[1] != other[1] for one, other in itertools.pairwise(looks))


VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""What full colour blindness makes of linear RGB (Machado, Oliveira and Fernandes, 2009, Table 1)."""


@pytest.mark.parametrize("kind", VISION)
def test_colours_differ_for_every_kind_of_colour_vision(kind: str) -> None:
    seen = [_lab(np.array(VISION[kind]) @ _linear(np.array(to_rgb(colour)))) for colour in COLOURS]
    assert min(float(np.linalg.norm(one - other)) for one, other in itertools.combinations(seen, 2)) > 10


def _linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    """CIELAB under D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ linear.clip(0, 1) / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_places_beside_a_panel_keep_their_distance_and_stay_near() -> None:
    places = spread(np.array([0.0, 0.1, 0.11, 0.12, 3.0]), 0.5, 4.0)
    assert np.all(np.diff(places) >= 0.5 - 1e-9)
    assert places[0] == pytest.approx(0.25)
    assert places[-1] == pytest.approx(3.0)
    assert spread(np.array([3.9, 3.9]), 0.5, 4.0) == pytest.approx([3.25, 3.75])
    assert np.all(np.diff(spread(np.zeros(20), 0.5, 4.0)) == pytest.approx(0.2))


def test_names_fit_into_their_room() -> None:
    for title in [*TITLES, "x" * 200, "A&B $5 name_with_parts/and more"]:
        lines = wrapped(title, 0.6, 6.5, most=3).replace("\\$", "$").split("\n")
        assert len(lines) <= 3
        assert all(width_inches(line, 6.5) <= 0.6 for line in lines)
        assert width_inches(shortened(title, 0.6, 6.5).replace("\\$", "$"), 6.5) <= 0.6
    assert wrapped("OPOM-ConvexHull", 0.6, 6.5) == "OPOM-\nConvexHull"


def test_every_target_is_named_in_full(drawn: dict[str, Figure], monkeypatch: pytest.MonkeyPatch) -> None:
    said = {text for text, _, _ in written(monkeypatch, drawn["transfer"])}
    assert set(TARGET_NAMES) <= said
