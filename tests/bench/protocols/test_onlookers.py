"""Attackers of `visual` who have published photos and no key: what they see, find and learn."""

from __future__ import annotations

import math
import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.core.status import METHOD_FAILED, OK
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.protocols.visual.onlookers.base import Sight, held
from cloakbench.bench.protocols.visual.onlookers.edges import Contours, EdgeHistograms, luma
from cloakbench.bench.protocols.visual.onlookers.leaks import KnownPairs, MeanPhoto, PhotoDifference
from cloakbench.bench.protocols.visual.onlookers.learner import FineTuned, Lessons, OverlapError
from cloakbench.bench.protocols.visual.onlookers.sight import mean_photo, opened
from cloakbench.datasets.base import Role
from cloakbench.models.base import InputSpec, ModelCard, Recogniser

pytestmark = pytest.mark.usefixtures("pdf_left_out")

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
ALPHA = 0.2
CPU = torch.device("cpu")


def photos(count: int, *name: object, side: int = 16) -> Tensor:
    """Uint8 photos of noise, smooth enough to have edges."""
    coarse = torch.rand(count, 3, 4, 4, generator=generator("onlookers", *name))
    whole = torch.nn.functional.interpolate(coarse, size=[side, side], mode="bicubic")
    return (255 * whole.clamp(0, 1)).round().to(torch.uint8)


def shared_veil(count: int) -> Sight:
    originals = photos(count, "originals").float() / 255
    veil = torch.rand(1, *originals.shape[1:], generator=generator("veil"))
    return Sight(ALPHA * originals + (1 - ALPHA) * veil, originals, mean_photo(photos(5, "strangers")), ALPHA)


def test_one_known_pair_opens_every_other_photo() -> None:
    sight = shared_veil(4)
    for others in ([1], [1, 2, 3]):
        picture = KnownPairs([len(others)]).open(sight, 0, others)
        assert (picture - sight.originals[0]).abs().max() < 1e-5


def test_more_known_pairs_take_rounding_out() -> None:
    sight = shared_veil(9)
    rounded = Sight((255 * sight.published).round() / 255, sight.originals, sight.stranger, ALPHA)
    error = [
        float((KnownPairs([count]).open(rounded, 0, range(1, count + 1)) - sight.originals[0]).square().mean())
        for count in (1, 8)
    ]
    # Errors of rounding are independent: that of the photo itself stays, that of the veil is divided by the pairs.
    assert error[0] / error[1] == pytest.approx((1 + 1) / (1 + 1 / 8), rel=0.1)
    assert math.sqrt(error[0]) == pytest.approx(math.sqrt(2 / 12) / 255 / ALPHA, rel=0.1)


def test_two_photos_cancel_the_veil_and_a_mean_is_the_veil_and_a_mean_face() -> None:
    sight = shared_veil(4)
    originals, stranger = sight.originals, sight.stranger
    two = PhotoDifference().open(sight, 0, [1])
    assert torch.allclose(two, stranger + originals[0] - originals[1], atol=1e-5)
    many = MeanPhoto([4]).open(sight, 0, [1, 2, 3])
    veil = (sight.published.mean(0) - ALPHA * stranger) / (1 - ALPHA)
    assert torch.allclose(many, (sight.published[0] - (1 - ALPHA) * veil) / ALPHA, atol=1e-5)
    assert torch.allclose(MeanPhoto([2]).open(sight, 0, [1]) - stranger, (two - stranger) / 2, atol=1e-5)


def test_an_attacker_never_sees_the_original_of_the_photo_that_is_looked_at() -> None:
    sight = shared_veil(3)
    roles: list[Role] = ["probe"] * 3
    rows = held(["a"] * 3, roles, [OK] * 3, 3)
    for opener in (PhotoDifference(), MeanPhoto([3]), KnownPairs([2])):
        for row in range(3):
            hidden = sight.originals.clone()
            hidden[row] = 0.5
            other = Sight(sight.published, hidden, sight.stranger, ALPHA)
            assert torch.equal(opened(opener, sight, rows)[row], opened(opener, other, rows)[row])


def test_photos_are_held_with_others_of_the_same_person_role_and_state() -> None:
    names = ["a", "b", "a", "a", "a", "b"]
    roles: list[Role] = ["probe", "probe", "probe", "reference", "probe", "probe"]
    status = [OK, OK, OK, OK, METHOD_FAILED, OK]
    assert held(names, roles, status, 2) == [[0, 2], [1, 5], [2, 0], [], [], [5, 1]]
    assert held(names, roles, status, 1) == [[0], [1], [2], [3], [], [5]]
    assert held(names, roles, status, 3) == [[]] * 6


def test_edge_histograms_are_those_of_a_loop_over_pixels() -> None:
    matcher, image = EdgeHistograms(cell_px=28, directions=6), photos(1, "edges", side=112)
    picture, votes = np.asarray(luma(image)[0]), np.zeros((4, 4, 6))
    for y in range(112):
        for x in range(112):
            down = (picture[min(y + 1, 111), x] - picture[max(y - 1, 0), x]) / 2
            right = (picture[y, min(x + 1, 111)] - picture[y, max(x - 1, 0)]) / 2
            place = (math.degrees(math.atan2(down, right)) % 180) / 30 - 0.5
            lower = math.floor(place)
            for bin_, weight in ((lower, 1 - place + lower), (lower + 1, place - lower)):
                votes[y // 28, x // 28, bin_ % 6] += weight * math.hypot(down, right)
    blocks = []
    for i in range(3):
        for j in range(3):
            block = votes[i : i + 2, j : j + 2].reshape(4, 6)
            block = np.minimum(block / np.linalg.norm(block), 0.2)
            blocks.append(block / np.linalg.norm(block))
    expected = np.stack(blocks).reshape(3, 3, 24).transpose(2, 0, 1).reshape(-1)
    found = matcher.describe(image)[0].double().numpy()
    assert len(found) == matcher.length == len(expected)
    # Lower cells of a block stand first here, and cells in rows there: an order of its own, the same for all photos.
    assert np.sort(found) == pytest.approx(np.sort(expected / np.linalg.norm(expected)), abs=1e-6)


@pytest.mark.parametrize("matcher", [EdgeHistograms(), Contours()])
def test_descriptions_are_unit_vectors_of_edges_alone(matcher: EdgeHistograms | Contours) -> None:
    images = photos(3, "descriptions", side=112)
    found = matcher.describe(images)
    assert found.shape == (3, matcher.length) and torch.allclose(found.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.equal(matcher.describe(images[1:2])[0], found[1])
    darker = (images.float() * 0.5).round().to(torch.uint8)
    assert float((matcher.describe(darker) * found).sum(1).min()) > 0.8
    assert float((found[0] * found[1]).sum()) < float((matcher.describe(darker)[0] * found[0]).sum())
    blank = matcher.describe(torch.full((1, 3, 112, 112), 128, dtype=torch.uint8))
    assert blank.std() < 1e-6 and float(blank.norm()) == pytest.approx(1)


def test_contours_are_where_a_square_ends() -> None:
    image = torch.zeros(3, 112, 112, dtype=torch.uint8)
    image[:, 40:80, 30:70] = 255
    edges = (Contours().view(image)[0] == 0).nonzero().tolist()
    assert edges
    for y, x in edges:
        beside = min(abs(y - 39.5), abs(y - 79.5), abs(x - 29.5), abs(x - 69.5))
        assert beside <= 1.5 and 36 <= y <= 83 and 26 <= x <= 73


class Slim(nn.Module):
    """A filter and a projection."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.filter, self.out = nn.Conv2d(3, 4, 3, 2), nn.LazyLinear(8)
            self(torch.zeros(1, 3, 16, 16))

    def forward(self, images: Tensor) -> Tensor:
        return self.out(torch.relu(self.filter(images)).flatten(1))


def recogniser() -> Recogniser:
    card = ModelCard("slim", "slim", "slim", "none", "nothing", 8, "0")
    return Recogniser(Slim(), InputSpec(size=(16, 16)), card)


def lessons(judged: list[str]) -> Lessons:
    names = ["a", "a", "b", "b", "c", "c"]
    return Lessons(photos(6, "veiled"), names, photos(6, "clean"), names, judged)


def test_a_learner_moves_veiled_photos_to_their_people_and_leaves_its_start_alone() -> None:
    start, taught = recogniser(), lessons(["d"])
    before = deepcopy(start.state_dict())
    learner = FineTuned("slim", steps=40, batch_size=6, learning_rate=0.05)
    weights = learner.learn(start, taught, 0, CPU)
    assert all(torch.equal(one, before[name]) for name, one in start.state_dict().items())
    pupil = learner.pupil(start, weights, CPU)
    assert not any(one.requires_grad for one in pupil.parameters())

    def right(network: Recogniser) -> float:
        clean, veiled = (network.embed(one.float() / 255) for one in (taught.clean, taught.veiled))
        centres = torch.nn.functional.normalize(clean.unflatten(0, (3, 2)).mean(1))
        return float(((veiled @ centres.T).argmax(1) == torch.arange(3).repeat_interleave(2)).float().mean())

    assert right(pupil) > right(start)
    again = learner.learn(start, taught, 0, CPU)
    assert all(torch.equal(one, again[name]) for name, one in weights.items())


def test_a_learner_that_was_killed_ends_where_it_would_have_ended() -> None:
    start, taught, learner = recogniser(), lessons(["d"]), FineTuned("slim", steps=9, batch_size=4)
    kept: list[dict[str, Tensor]] = []
    whole = learner.learn(start, taught, 0, CPU, keep=lambda one: kept.append(deepcopy(dict(one))))
    assert len(kept) == 9
    resumed = learner.learn(start, taught, 0, CPU, reached=kept[3])
    assert all(torch.equal(one, resumed[name]) for name, one in whole.items())


def test_nobody_is_judged_by_a_network_that_learnt_from_them() -> None:
    learner = FineTuned("slim", folds=3)
    folds = learner.fold_of(["a", "b", "c", "d", "e"])
    assert folds == {"a": 0, "b": 1, "c": 2, "d": 0, "e": 1}
    with pytest.raises(OverlapError, match=r"^the attacker learns from photos of b, who is judged: keep them apart$"):
        lessons(["d", "b"])
    with pytest.raises(ValueError, match="fewer than two people"):
        Lessons(photos(1, "one"), ["a"], photos(1, "two"), ["a"], ["d"])
    with pytest.raises(ValueError, match="no clean photo of b"):
        Lessons(photos(2, "one"), ["a", "b"], photos(1, "two"), ["a"], ["d"])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: MeanPhoto([1]), r"^photos is \[1\]: it must be a list of whole numbers of at least 2, each once$"),
        (lambda: KnownPairs([]), r"^photos is \[\]"),
        (lambda: KnownPairs([2, 2]), "each once"),
        (lambda: EdgeHistograms(cell_px=15), "cell_px is 15: it must divide 112"),
        (lambda: Contours(kept=1.0), "kept is 1.0"),
        (lambda: FineTuned("slim", folds=1), "folds is 1"),
    ],
)
def test_bad_settings_are_one_line(made: object, said: str) -> None:
    with pytest.raises((SettingError, ValueError), match=said) as refused:
        made()  # type: ignore[operator]
    assert "\n" not in str(refused.value)


def watch(results: Path, cache: Path, *more: str) -> Outcome:
    words = ["experiment=tiny_onlookers", f"paths.results={results}", f"paths.cache={cache}", "runtime.workers=0"]
    words += ["~protocols.visual.methods.pgd", "~transforms.gaussian_noise", "variants=null", "~targets.tiny1", *more]
    return run(compose_config(words, config_dirs=[str(CONFIG_DIR)]))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> Outcome:
    return watch(tmp_path_factory.mktemp("onlookers"), faces_cache)


def test_every_attacker_has_a_rate_with_n_and_interval_for_each_number_of_photos(watched: Outcome) -> None:
    frame = watched.results.measurements
    found = frame[frame["metric"].str.startswith("found_")]
    assert not watched.problems and set(found["status"]) == {"ok"} and set(found["n"]) == {12}
    low, value, high = (np.asarray(found[name], dtype=float) for name in ("low", "value", "high"))
    assert bool(np.all((low <= value) & (value <= high)))
    numbers = found.groupby("metric")["condition"].agg(lambda own: sorted(set(own))).to_dict()
    assert numbers == {
        "found_recogniser": ["held_1"],
        "found_edge_histograms": ["held_1", "held_3"],
        "found_contours": ["held_1"],
        "found_difference": ["held_2"],
        "found_mean_photo": ["held_3"],
        "found_known_pairs": ["held_1", "held_2"],
        "found_fine_tuned": ["held_1", "held_3"],
    }
    assert set(found["method"]) == {"identity", "random_sign", "keyed_blend"}
    report = (watched.folder / "report.md").read_text(encoding="utf-8")
    assert "## Attackers without a key" in report and "Recogniser" in report
    table = pd.read_csv(watched.folder / "tables" / "visual_found.csv")
    assert len(table) == 10 and {"identity_percent_low", "identity_percent_high", "n"} <= set(table)
    assert (watched.folder / "figures" / "visual_onlookers.png").exists()


def rate(outcome: Outcome, metric: str, method: str, condition: str) -> float:
    frame = outcome.results.measurements
    own = (frame["metric"] == metric) & (frame["method"] == method) & (frame["condition"] == condition)
    [value] = frame.loc[own, "value"]
    return float(value)


def test_who_knows_one_pair_finds_whom_the_clean_photo_finds(watched: Outcome) -> None:
    clean = rate(watched, "found_recogniser", "identity", "held_1")
    assert rate(watched, "found_known_pairs", "keyed_blend", "held_1") == pytest.approx(clean, abs=1 / 12 + 1e-9)
    assert rate(watched, "found_recogniser", "keyed_blend", "held_1") < clean
    assert rate(watched, "seen_known_pairs_psnr", "keyed_blend", "held_1") > 40
    pictures = [one.shown["keyed_blend"] for one in watched.results.examples]
    for example, shown in zip(watched.results.examples, pictures, strict=True):
        assert {"difference_2", "mean_photo_3", "known_pairs_1", "known_pairs_2", "contours_view"} <= set(shown)
        assert int((shown["known_pairs_1"].int() - example.original.int()).abs().max()) <= 5


def test_attackers_need_no_key_and_a_second_run_learns_and_asks_nothing(watched: Outcome, faces_cache: Path) -> None:
    results = watched.folder.parents[1]
    before = {path: path.stat().st_mtime_ns for path in (results / "store").rglob("*.safetensors")}
    table = (watched.folder / "tables" / "visual_found.csv").read_bytes()
    assert [path for path in before if path.parts[-3] == "trained" or path.parts[-2] == "trained"]
    again = watch(results, faces_cache)
    assert {path: path.stat().st_mtime_ns for path in (results / "store").rglob("*.safetensors")} == before
    assert (again.folder / "tables" / "visual_found.csv").read_bytes() == table
    shutil.rmtree(results / "store" / "keys")
    for kind in ("seen", "descriptions", "learnt", "measurements", "records"):
        shutil.rmtree(results / "store" / kind)
    third = watch(results, faces_cache)
    assert (third.folder / "tables" / "visual_found.csv").read_bytes() == table


@pytest.mark.slow
def test_more_photos_than_anybody_has_are_a_gap_and_a_start_that_is_no_target_is_refused(
    tmp_path: Path, faces_cache: Path
) -> None:
    base = ["experiment=tiny_onlookers", f"paths.results={tmp_path}", f"paths.cache={faces_cache}"]
    config = compose_config([*base, "protocols.visual.attackers.fine_tuned.start=tiny3"], config_dirs=[str(CONFIG_DIR)])
    said = r"protocols.visual.attackers.fine_tuned.start is tiny3: it must be a target, of tiny1, tiny2$"
    with pytest.raises(ConfigError, match=said):
        prepare(config)
    alone = [f"protocols.visual.attackers.{name}=null" for name in ("fine_tuned", "contours", "recogniser")]
    alone += [f"protocols.visual.attackers.{name}=null" for name in ("difference", "edge_histograms", "known_pairs")]
    outcome = watch(
        tmp_path, faces_cache, *alone, "protocols.visual.attackers.mean_photo.photos=[4]", "report.figures=false"
    )
    frame = outcome.results.measurements
    found = frame[frame["metric"] == "found_mean_photo"]
    assert len(found) and np.isnan(np.asarray(found["value"], dtype=float)).all()
    assert set(found["status"]) == {"unavailable"}
    assert set(found["note"]) == {"nobody has so many photos and another one in the gallery"}
