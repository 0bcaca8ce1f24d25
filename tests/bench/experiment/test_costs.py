"""Costs: the passes that a person takes of each method, as its paper has them, in the table of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.run import run

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
PHOTOS = 3
"""Of a person; 10 in the papers. Each person has one probe, so that a row per protected photo is one per person."""
SLIM = "width: 4, discriminator_width: 4, image_epochs: 1, batch: 4"
METHODS = {
    "gd_uap": "iterations: 2",
    "gap": "width: 4, blocks: 1, epochs: 1, steps_per_epoch: 1, batch: 4",
    "advfaces": SLIM,
    "advfaces_plus": SLIM,
    "advcloak": f"{SLIM}, person_epochs: 1",
    "advcloak_convex_hull": f"{SLIM}, person_epochs: 1, warmup_epochs: 0",
    "p3_mask": "",
}


@pytest.fixture(scope="module")
def passes(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> dict[str, tuple[float, float]]:
    """Method to forward and backward passes per person."""
    words = [f"+method@methods.{name}={name}" for name in METHODS]
    words += [f"methods.{name}={{{settings}}}" for name, settings in METHODS.items() if settings]
    words += ["~method@methods.pgd", "~method@methods.opom_convex_hull", "+model@surrogates.tiny2=tiny2"]
    words += ["~protocols.verification", "~protocols.quality", "~transforms.jpeg", "epsilons_255=[8]"]
    words += ["dataset.identities=2", f"dataset.references_per_identity={PHOTOS}", "dataset.probes_per_identity=1"]
    words += [
        "dataset.distractors=2",
        "dataset.impostor_identities=0",
        "dataset.auxiliary_identities=2",
        "report.examples=0",
        "statistics.resamples=10",
    ]
    words += ["+plan.limits.p3_mask={surrogates: {both: [tiny1, tiny2]}}"]
    results = tmp_path_factory.mktemp("costs")
    words += [f"paths.results={results}", f"paths.cache={faces_cache}", "runtime.workers=0"]
    outcome = run(compose_config(["experiment=tiny", *words], config_dirs=[str(CONFIG_DIR)]))
    assert outcome.problems == []
    costs = outcome.results.costs
    assert set(costs["method"]) == {"identity", "random_sign", *METHODS}
    spent: dict[str, set[tuple[float, float]]] = {}
    for line in costs.to_dict("records"):
        spent.setdefault(line["method"], set()).add((line["forward_per_image"], line["backward_per_image"]))
    return {method: found.pop() for method, found in spent.items() if len(found) == 1}


def test_a_person_costs_what_the_papers_methods_take(passes: dict[str, tuple[float, float]]) -> None:
    once = {"gd_uap", "gap", "identity", "random_sign"}
    assert {passes[method] for method in once} == {(0, 0)}, "a universal mask is an addition"
    assert passes["advfaces"] == (1, 0), "per photo"
    cloaks = [method for method in METHODS if method.startswith("advcloak")]
    assert {passes[method] for method in ("advfaces_plus", *cloaks)} == {(PHOTOS, 0)}
    clean = 2 * PHOTOS
    assert passes["p3_mask"] == (100 * PHOTOS + clean, 100 * PHOTOS), "two networks, 50 epochs"
