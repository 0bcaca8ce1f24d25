"""The embedded generator: small, whole, a function of pixels and draws alone, and keeping people apart."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from cloakbench.bench.cli.views import make_album
from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import compose_config, resolved
from cloakbench.bench.config.networks import build_generator
from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.engine.views import make_views, view_inputs
from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.synthetic import identity
from cloakbench.datasets.synthetic.world import SyntheticWorld, training_faces
from cloakbench.models.generation.view_command import job_of
from cloakbench.models.generators import Generator, GeneratorCard, view_streams
from cloakbench.models.zoo import WEIGHTS, read_weights

CARD = json.loads((WEIGHTS / "embedded.json").read_text(encoding="utf-8"))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def embedded() -> Generator:
    return build_generator(resolved(compose_config([], "views").generator))


@pytest.fixture(scope="module")
def faces() -> FaceSet:
    """Five photos of each of four people."""
    world = SyntheticWorld(seed=77, identities=4, references_per_identity=0, probes_per_identity=5)
    return world.faces("probe")


def floats(faces: FaceSet) -> torch.Tensor:
    return faces.images.float() / 255


def streams(count: int) -> list[torch.Generator]:
    return [generator("views", row) for row in range(count)]


def test_weights_are_small_and_as_their_card_says() -> None:
    file = WEIGHTS / "embedded.safetensors"
    assert file.stat().st_size <= 1.5e6
    assert hashlib.sha256(file.read_bytes()).hexdigest() == CARD["sha256"]
    state = read_weights("embedded", CARD["sha256"])
    assert sum(tensor.numel() for tensor in state.values()) == CARD["parameters"]


def test_the_card_names_the_recipe_that_is_in_the_code() -> None:
    job = job_of(compose_config([], "generator_training"))
    assert CARD["recipe"] == job.recipe()
    assert CARD["recipe_digest"] == job.digest()


def test_its_people_have_no_other_role() -> None:
    """They are a training population whose seed no recogniser's recipe names; no world shows one of such a population.

    Attribute networks learn from people of that seed, too. They judge no identity, and the generator is shown no
    attribute."""
    config = compose_config([], "zoo")
    other = {str(recipe.faces.seed) for recipe in config.members.values() if "task" not in recipe}
    assert str(CARD["recipe"]["faces"]["seed"]) not in other
    named = training_faces(seed=CARD["recipe"]["faces"]["seed"], identities=1, images_per_identity=1).identity
    assert named[0].startswith(f"synthetic/training-s{CARD['recipe']['faces']['seed']}/")


def test_wrong_names_attributes_and_landmarks_change_no_view(embedded: Generator, faces: FaceSet) -> None:
    count = len(faces)
    order = {name: f"nobody-{place}" for place, name in enumerate(reversed(faces.identities()))}
    assert faces.landmarks is not None and faces.attributes
    planted = FaceSet(
        faces.images,
        tuple(f"wrong-{row}" for row in range(count)),
        tuple(order[name] for name in faces.identity),
        torch.rand(count, 5, 2, generator=generator("landmarks")) * 112,
        {name: (values + 1) % 2 for name, values in faces.attributes.items()},
    )
    right, wrong = (make_album(embedded, given, 4, 0, CPU) for given in (faces, planted))
    assert torch.equal(right.views, wrong.views)
    without = FaceSet(faces.images, faces.image_id, faces.identity)
    assert torch.equal(make_album(embedded, without, 4, 0, CPU).views, right.views)


class Peeking(Generator):
    """Draws the person instead of looking at the photo: what a generator of rendered people may not do."""

    def __init__(self) -> None:
        super().__init__()
        self.card = GeneratorCard("peeking", "renders the person")

    def draw_views(self, photos: torch.Tensor, count: int, streams: Sequence[torch.Generator]) -> torch.Tensor:
        world = SyntheticWorld(seed=77, identities=1, references_per_identity=0, probes_per_identity=count)
        return floats(world.faces("probe"))[None].expand(len(photos), -1, -1, -1, -1)


@pytest.mark.parametrize("peeks", [False, True])
def test_wrong_parameters_of_the_renderer_change_no_view_but_of_a_generator_that_reads_them(
    embedded: Generator, faces: FaceSet, monkeypatch: pytest.MonkeyPatch, peeks: bool
) -> None:
    model = Peeking() if peeks else embedded
    asked = view_inputs("digest", 3, faces.digests()[0], 0)
    right = make_views(model, faces.images[0], asked, CPU)
    real, drawn = identity.sample_identities, []

    def of_somebody_else(names: Sequence[str], *stream: object, scale: float = 1.0) -> Any:
        drawn.append(names)
        return real([f"{name} is another" for name in names], *stream, scale=scale)

    monkeypatch.setattr(identity, "sample_identities", of_somebody_else)
    wrong = make_views(model, faces.images[0], asked, CPU)
    assert torch.equal(right.images, wrong.images) != peeks
    assert bool(drawn) == peeks


def test_equal_streams_give_equal_views_and_other_streams_others(embedded: Generator, faces: FaceSet) -> None:
    photos = floats(faces)[:1]
    first, again = (embedded.views(photos, 3, streams(1)) for _ in range(2))
    assert torch.equal(first, again)
    other = embedded.views(photos, 3, [generator("other")])
    assert float((first - other).abs().mean()) > 0.01


def test_views_do_not_depend_on_the_other_photos_of_a_call(embedded: Generator, faces: FaceSet) -> None:
    photos = floats(faces)[::5]
    together = embedded.views(photos, 3, streams(4))
    for row in range(4):
        alone = embedded.views(photos[row : row + 1], 3, streams(4)[row : row + 1])
        assert torch.equal(alone[0], together[row])


def test_fewer_views_are_the_first_of_more(embedded: Generator, faces: FaceSet) -> None:
    photos = floats(faces)[:1]
    assert torch.equal(embedded.views(photos, 2, streams(1)), embedded.views(photos, 6, streams(1))[:, :2])


def test_views_are_no_copies_of_the_photo_or_of_one_another(embedded: Generator, faces: FaceSet) -> None:
    photos = floats(faces)[::5]
    made = embedded.views(photos, 4, view_streams(0, faces.digests()[::5]))
    differences = (made - photos[:, None]).abs().mean((2, 3, 4))
    assert float(differences.min()) > 4 / 255
    pairs: Any = torch.combinations(torch.arange(4))
    assert float((made[:, pairs[:, 0]] - made[:, pairs[:, 1]]).abs().mean((2, 3, 4)).min()) > 4 / 255


def test_its_folder_is_the_packages_own_where_none_is_named(tmp_path: Path) -> None:
    config = compose_config(["output=null"], "generator_training")
    check_values(config)
    assert job_of(config).output == WEIGHTS
    assert job_of(compose_config([f"output={tmp_path}"], "generator_training")).output == tmp_path


def test_the_package_carries_the_weights() -> None:
    declared = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert '"cloakbench.models" = ["weights/*"]' in declared
    assert '"cloakbench.models.generation"' in declared


@pytest.mark.slow
def test_loading_it_does_not_import_the_compiler_of_torch() -> None:
    words = (
        "import sys; from cloakbench.bench.config.compose import compose_config, resolved; "
        "from cloakbench.bench.config.networks import build_generator; "
        "build_generator(resolved(compose_config(['generator=embedded']).generator)); "
        "print('torch._dynamo' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n", "a second and much memory for every worker"
