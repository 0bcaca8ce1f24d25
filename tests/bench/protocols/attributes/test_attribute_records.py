"""MOSR, rates of single attributes and H-PN against numbers that are known beforehand (oracles C20, C21)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.protocols.attributes.h_pn import clipped_psnr, harmonic, psnr_over_60
from cloakbench.bench.protocols.attributes.metrics import first_count
from cloakbench.bench.protocols.attributes.protocol import Attributes
from cloakbench.bench.protocols.attributes.records import AttributeAnswers
from cloakbench.datasets.attribute_task import UNLABELLED

SIZES = {"gender": 2, "age": 6, "race": 5}
CHANCE = 1 / 2 * 5 / 6 * 4 / 5
PEOPLE, PHOTOS = 60, 50


def task(sizes: Mapping[str, int] = SIZES) -> dict[str, Any]:
    return {
        "_target_": "cloakbench.datasets.attribute_task.AttributeTask",
        "_convert_": "all",
        "name": "planted",
        "attributes": {
            name: {"classes": {f"{name}{number}": {"labels": [number]} for number in range(size)}}
            for name, size in sizes.items()
        },
    }


def protocol(**settings: Any) -> Attributes:
    return Attributes(task=task(), naturalness={}, **settings)


def sure(classes: Mapping[str, Tensor], confidence: float = 0.9) -> Tensor:
    """Answers that give each photo's class this much confidence, and the others the same."""
    parts = []
    for name, size in SIZES.items():
        rest = (1 - confidence) / (size - 1)
        parts.append(torch.full((len(classes[name]), size), rest).scatter(1, classes[name][:, None], confidence))
    return torch.cat(parts, dim=1)


def drawn(name: str, count: int = PEOPLE * PHOTOS) -> dict[str, Tensor]:
    stream = generator("attributes", name)
    return {one: torch.randint(size, (count,), generator=stream) for one, size in SIZES.items()}


def answers(protected: Tensor, clean: Tensor, labels: Mapping[str, Tensor], **more: Any) -> AttributeAnswers:
    count = len(clean)
    given: dict[str, Any] = {
        "image_id": [f"photo{number}" for number in range(count)],
        "identity": [f"person{number % PEOPLE}" for number in range(count)],
        "status": ["ok"] * count,
        "pictures": {"ssim": np.full(count, 0.9), "psnr": np.full(count, 30.0)},
    }
    return AttributeAnswers(protected, clean, labels, **(given | more))


def measured(given: AttributeAnswers, asked: Attributes | None = None) -> pd.DataFrame:
    asked = asked or protocol()
    return asked.measurements(asked.records(given), 200, seed=0).set_index("metric")


def wrong(labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: (classes + 1) % SIZES[name] for name, classes in labels.items()}


def test_a_perfect_classifier_scores_0_and_a_constantly_wrong_one_1() -> None:
    labels = drawn("labels")
    right, false = sure(labels), sure(wrong(labels))
    assert measured(answers(right, right, labels)).loc["mosr", "value"] == 0
    found = measured(answers(false, right, labels))
    assert found.loc["mosr", "value"] == 1
    assert found.loc["mosr_given_clean", "value"] == 1
    assert (found.loc[["asr_gender", "asr_age", "asr_race"], "value"] == 1).all()


def test_a_classifier_that_guesses_scores_chance() -> None:
    found = measured(answers(sure(drawn("guesses")), sure(drawn("guesses")), drawn("labels")))
    assert found.loc["mosr", "value"] == pytest.approx(CHANCE, abs=0.03)
    assert protocol().asked.chance == pytest.approx(CHANCE)


def test_mosr_of_photos_that_nothing_was_done_to_is_the_clean_error() -> None:
    """Not zero by decree: what the network misses on clean photos counts, and nothing has changed."""
    labels, said = drawn("labels"), drawn("said")
    found = measured(answers(sure(said), sure(said), labels))
    missed = torch.stack([said[name] != labels[name] for name in SIZES]).all(dim=0)
    assert found.loc["mosr", "value"] == pytest.approx(float(missed.double().mean()))
    assert found.loc["mosr", "value"] > 0.2
    assert found.loc["mosr_given_clean", "value"] == 0
    assert found.loc["mosr_changed", "value"] == 0


def test_mosr_is_at_most_each_rate_and_rates_are_counted_photo_by_photo() -> None:
    labels, said, clean = drawn("labels"), drawn("said"), drawn("clean")
    found = measured(answers(sure(said), sure(clean), labels))
    misses = {name: said[name] != labels[name] for name in SIZES}
    for name in SIZES:
        assert found.loc[f"asr_{name}", "value"] == pytest.approx(float(misses[name].double().mean()))
        assert found.loc["mosr", "value"] <= found.loc[f"asr_{name}", "value"]
    known = torch.stack([clean[name] == labels[name] for name in SIZES]).all(dim=0)
    every = torch.stack(list(misses.values())).all(dim=0)
    assert found.loc["mosr_given_clean", "n"] == int(known.sum())
    assert found.loc["mosr_given_clean", "value"] == pytest.approx(float((every & known).sum() / known.sum()))


def test_mosr_of_the_first_attributes_leaves_the_others_out() -> None:
    labels, said = drawn("labels"), drawn("said")
    found = measured(answers(sure(said), sure(labels), labels), protocol(counts=[1, 2, 3]))
    assert found.loc["mosr_first_1", "value"] == found.loc["asr_gender", "value"]
    assert found.loc["mosr_first_3", "value"] == found.loc["mosr", "value"]
    both = (said["gender"] != labels["gender"]) & (said["age"] != labels["age"])
    assert found.loc["mosr_first_2", "value"] == pytest.approx(float(both.double().mean()))
    assert [first_count(name) for name in ("mosr_first_2", "mosr", "mosr_first_x")] == [2, 0, 0]


def test_photos_without_a_label_are_in_no_rate_of_what_they_show() -> None:
    labels = drawn("labels")
    labels["age"][:100] = UNLABELLED
    given = answers(sure(wrong(drawn("labels"))), sure(drawn("labels")), labels)
    found, records = measured(given), protocol().records(given)
    assert found.loc["mosr", "n"] == PEOPLE * PHOTOS - 100
    assert found.loc["asr_gender", "n"] == PEOPLE * PHOTOS - 100
    assert found.loc["mosr_changed", "n"] == PEOPLE * PHOTOS
    assert records["age_label"].isna().sum() == 100
    assert (found["n_failed"] == 0).all()


def test_an_answer_that_is_not_finite_is_a_failure_of_the_target_and_no_number() -> None:
    labels = drawn("labels")
    protected = sure(wrong(labels))
    protected[:30, 3] = torch.nan
    given = answers(protected, sure(labels), labels)
    records, found = protocol().records(given), measured(given)
    assert (records["status"][:30] == "target_failed").all()
    assert records.loc[:29, ["gender_class", "age_confidence", "race_kept_confidence", "ssim"]].isna().all(axis=None)
    for metric in ("mosr", "asr_race", "h_pn", "confidence_drop_age", "inversion_proof_gender"):
        assert found.loc[metric, ["n", "n_failed"]].tolist() == [PEOPLE * PHOTOS - 30, 30]
    silent = answers(torch.full_like(protected, torch.nan), sure(labels), labels)
    assert measured(silent)["value"].isna().all()


def test_confidence_that_is_lost_and_answers_that_can_be_turned_round() -> None:
    labels = drawn("labels")
    found = measured(answers(sure(wrong(labels), 0.8), sure(labels, 0.9), labels))
    assert found.loc["confidence_drop_gender", "value"] == pytest.approx(0.9 - 0.2, abs=1e-6)
    assert found.loc["confidence_drop_age", "value"] == pytest.approx(0.9 - 0.2 / 5, abs=1e-6)
    assert found.loc["inversion_proof_gender", "value"] == pytest.approx(1 - abs(2 * 0.8 - 1), abs=1e-6)
    assert "inversion_proof_age" not in found.index
    tossed = measured(answers(sure(labels, 0.5), sure(labels, 0.9), labels))
    assert tossed.loc["inversion_proof_gender", "value"] == pytest.approx(1)


def test_every_metric_has_a_card_and_measurements_are_in_their_order() -> None:
    asked = protocol(counts=[1, 2])
    labels = drawn("labels")
    found = measured(answers(sure(labels), sure(labels), labels), asked)
    assert list(found.index) == [metric.name for metric in asked.metrics]
    assert all(metric.denominator for metric in asked.metrics)
    assert set(asked.trials(asked.records(answers(sure(labels), sure(labels), labels)))) <= set(found.index)


def test_h_pn_of_the_printed_table() -> None:
    """Table IV's first cell: 0.60, or 0.59 as its other columns round."""
    numbers = [np.array([value]) for value in (0.479, 0.928, 36.7)]
    assert harmonic(*numbers, normalised=clipped_psnr)[0] == pytest.approx(0.60, abs=0.01)


@pytest.mark.parametrize("normalised", [clipped_psnr, psnr_over_60])
def test_h_pn_is_harmonic(normalised: Any) -> None:
    mosr, ssim, psnr = (np.array(values) for values in ([0.0, 0.2, 0.9, 1.0], [0.9, 0.5, 0.1, 1.0], [30, 20.0, 8, 100]))
    found = harmonic(mosr, ssim, psnr, normalised=normalised)
    natural = (ssim + normalised(psnr)) / 2
    np.testing.assert_allclose(found[1:], 2 / (1 / mosr[1:] + 1 / natural[1:]))
    assert found[0] == 0
    assert (found <= 2 * np.minimum(mosr, natural) + 1e-12).all()
    assert found[3] == pytest.approx(1)


def test_the_interval_of_h_pn_draws_people_for_all_of_its_means_at_once() -> None:
    """Against a loop that draws people and recomputes the three means."""
    labels, said = drawn("labels", 40), drawn("said", 40)
    stream = generator("attributes", "pictures")
    ssim, psnr = torch.rand(40, generator=stream).numpy(), 20 + 20 * torch.rand(40, generator=stream).numpy()
    identity = [f"person{number // 5}" for number in range(40)]
    pictures = {"ssim": ssim.astype(float), "psnr": psnr.astype(float)}
    given = answers(sure(said), sure(labels), labels, pictures=pictures, identity=identity)
    asked = protocol()
    found = asked.measurements(asked.records(given), 4000, seed=0).set_index("metric").loc["h_pn"]
    events = torch.stack([said[name] != labels[name] for name in SIZES]).all(dim=0).numpy()
    rng, values = np.random.default_rng(1), []
    for _ in range(4000):
        rows = np.concatenate([np.arange(5) + 5 * person for person in rng.integers(8, size=8)])
        natural = (ssim[rows].mean() + (psnr[rows].mean() - 10) / 40) / 2
        rate = events[rows].mean()
        values.append(2 * rate * natural / (rate + natural) if rate else 0.0)
    low, high = np.percentile(values, [2.5, 97.5])
    assert found["low"] == pytest.approx(low, abs=0.02)
    assert found["high"] == pytest.approx(high, abs=0.02)
    assert found["low"] < found["value"] < found["high"]


def test_equal_photos_have_a_psnr_of_100_in_h_pn() -> None:
    labels = drawn("labels")
    count = PEOPLE * PHOTOS
    pictures = {"ssim": np.ones(count), "psnr": np.full(count, np.nan)}
    found = measured(answers(sure(wrong(labels)), sure(labels), labels, pictures=pictures))
    assert found.loc["h_pn", "value"] == pytest.approx(1)
    assert found.loc["h_pn", "n"] == count


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"photos": "reference"}, "photos is reference: it must be one of probe, test"),
        ({"truth": "rumour"}, "truth is rumour"),
        ({"identities": 0}, "identities is 0"),
        ({"counts": [4]}, "it has 3 attributes, so 4 of them cannot be taken"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        protocol(**settings)
    assert "\n" not in str(caught.value)
