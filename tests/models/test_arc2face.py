"""Arc2Face on tiny random networks: embed, project, draw with guidance, decode, align; what is said without files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cloakbench.bench.config.compose import compose_config, resolved
from cloakbench.bench.config.networks import build_generator, generator_fingerprint
from cloakbench.bench.core.random_streams import generator as stream
from cloakbench.bench.doctor.preflight import missing_of_generator
from cloakbench.datasets.alignment import ARCFACE_TEMPLATE
from cloakbench.datasets.detection import Detection
from cloakbench.datasets.face_aligner import FaceAligner
from cloakbench.models.base import InputSpec, ModelCard, Recogniser
from cloakbench.models.conformance import IMAGES, smooth_images
from cloakbench.models.generation import arc2face
from cloakbench.models.generation.arc2face import (
    FACE_PLACE,
    SENTENCE,
    Arc2Face,
    empty_text,
    faces_as_text,
    load_arc2face,
)
from cloakbench.models.generation.latent_diffusion import DiffusionNetworks, draw_pictures
from cloakbench.models.generation.text_encoder import TextEncoder
from cloakbench.models.generator_conformance import check_generator
from cloakbench.models.generators import GeneratorCard, GeneratorError
from cloakbench.models.weight_file import WeightError, WeightFile

WIDTH, PLACES = 16, 9
SIDE = 8


class Unet(nn.Module):
    """Predicts noise from latents, time and meaning, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.lead = nn.Conv2d(4, 4, 3, 1, 1), nn.Linear(WIDTH, 4)
        self.asked: list[tuple[int, int, Tensor]] = []

    def forward(
        self, latents: Tensor, timestep: Tensor, *, encoder_hidden_states: Tensor, return_dict: bool
    ) -> tuple[Tensor]:
        assert not return_dict
        self.asked.append((len(latents), int(timestep), encoder_hidden_states))
        led = self.lead(encoder_hidden_states.mean(dim=1))[:, :, None, None]
        return (self.mix(latents) + led + float(timestep) / 1000,)


class Vae(nn.Module):
    """Latents to pictures eight times as large."""

    def __init__(self) -> None:
        super().__init__()
        self.paint = nn.Conv2d(4, 3, 1)

    def decode(self, latents: Tensor, *, return_dict: bool) -> tuple[Tensor]:
        assert not return_dict
        return (nn.functional.interpolate(self.paint(latents), scale_factor=8, mode="bilinear").tanh(),)


class Halving:
    """Takes half of the predicted noise away at each step."""

    init_noise_sigma = 2.0

    def set_timesteps(self, num_inference_steps: int, device: torch.device) -> None:
        self.timesteps = torch.linspace(999, 0, num_inference_steps).long()

    def scale_model_input(self, sample: Tensor, timestep: Any) -> Tensor:
        return sample * 0.5

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, *, return_dict: bool) -> tuple[Tensor]:
        return (sample - 0.5 * model_output,)


class Fixed:
    """A detector that sees a face at the ArcFace template, scaled to the picture, or none."""

    def __init__(self, faces: int = 1) -> None:
        self.faces = faces

    def fingerprint(self) -> str:
        return "fixed"

    def detect(self, images: Sequence[Tensor]) -> list[Detection]:
        found = []
        for image in images:
            side = image.shape[-1]
            points = (torch.tensor(ARCFACE_TEMPLATE) + 0.5) * side / 112 - 0.5
            box = torch.tensor([[0.0, 0.0, side, side]])
            found.append(Detection(box[: self.faces], points[None][: self.faces], torch.ones(self.faces)))
        return found


def networks(solver: Any = None) -> DiffusionNetworks:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DiffusionNetworks(Unet(), Vae(), solver or Halving(), latent_size=(4, SIDE, SIDE))


def text_encoder(**changes: int) -> TextEncoder:
    settings = {"words": 49408, "places": PLACES, "width": WIDTH, "inner": 32, "heads": 2, "layers": 2, **changes}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return TextEncoder(**settings)


def tiny(together: int = 2, faces: int = 1, **changes: Any) -> Arc2Face:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = nn.Sequential(nn.AvgPool2d(28), nn.Flatten(), nn.Linear(48, 12))
    recogniser = Recogniser(network, InputSpec(), ModelCard("tiny", "conv", "tiny", "none", "none", 12, "digest"))
    settings = {"steps": 3, "guidance": 3.0, **changes}
    return Arc2Face(
        recogniser,
        text_encoder(),
        networks(),
        FaceAligner(Fixed(faces)),
        together=together,
        card=GeneratorCard("arc2face", "latent diffusion"),
        **settings,
    )


def views(model: Arc2Face, photos: Tensor, count: int = 3) -> Tensor:
    return model.views(photos, count, [stream("arc2face test", name) for name in IMAGES[: len(photos)]])


def test_the_whole_path_keeps_the_contract_of_generators() -> None:
    results = check_generator(tiny(), smooth_images())
    assert [f"{result.name}: {result.detail}" for result in results if not result.passed] == []


def test_every_picture_takes_two_passes_a_step_and_memory_is_bounded() -> None:
    model = tiny(together=2, steps=4)
    unet: Any = model.unet
    made = views(model, smooth_images()[:2], count=5)
    assert made.shape == (2, 5, 3, 112, 112)
    assert model.passes_per_view == 8
    assert sum(asked for asked, _, _ in unet.asked) == 2 * 5 * model.passes_per_view
    assert max(asked for asked, _, _ in unet.asked) == 2 * 2
    assert [time for _, time, _ in unet.asked[:4]] == [999, 666, 333, 0]


def test_the_face_stands_in_place_of_one_word_and_of_no_other() -> None:
    encoder = text_encoder()
    seen: list[Tensor] = []
    encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    faces = nn.functional.normalize(torch.randn(2, 12, generator=stream("faces")), dim=1)
    meaning = faces_as_text(encoder, faces)
    [vectors] = seen
    assert torch.equal(vectors[:, FACE_PLACE, :12], faces) and bool((vectors[:, FACE_PLACE, 12:] == 0).all())
    words = torch.tensor([*SENTENCE, *[SENTENCE[-1]] * (PLACES - len(SENTENCE))])
    others = [place for place in range(PLACES) if place != FACE_PLACE]
    assert torch.equal(vectors[:, others], encoder.vectors(words)[others].expand(2, -1, -1))
    assert torch.equal(meaning[0, :FACE_PLACE], meaning[1, :FACE_PLACE])  # words before the face know nothing of it
    assert not torch.equal(meaning[0, FACE_PLACE:], meaning[1, FACE_PLACE:])


def test_guidance_goes_from_nothing_past_the_meaning() -> None:
    """One step of a solver that takes everything away, against the formula written out."""

    class Whole(Halving):
        init_noise_sigma = 1.0

        def scale_model_input(self, sample: Tensor, timestep: Any) -> Tensor:
            return sample

        def step(self, model_output: Tensor, timestep: Any, sample: Tensor, *, return_dict: bool) -> tuple[Tensor]:
            return (model_output,)

    some = networks(Whole())
    encoder = text_encoder()
    noise = torch.randn(1, 4, SIDE, SIDE, generator=stream("noise"))
    meaning = faces_as_text(encoder, torch.ones(1, 12) / 12**0.5)
    nothing = empty_text(encoder, torch.device("cpu"))
    made = draw_pictures(some, noise, meaning, nothing, 1, 3.0)
    asked: Any = some.unet
    time = some.solver.timesteps[0]
    without, towards = (
        asked(noise, time, encoder_hidden_states=one, return_dict=False)[0] for one in (nothing, meaning)
    )
    vae: Any = some.vae
    expected = (vae.decode((3 * towards - 2 * without) / some.scale, return_dict=False)[0] + 1) / 2
    assert torch.allclose(made, expected.clamp(0, 1), atol=1e-5)


def test_views_depend_on_the_embedding_of_the_photo_alone() -> None:
    model = tiny()
    photo = smooth_images()[:1]
    flat = nn.functional.interpolate(nn.functional.avg_pool2d(photo, 28), scale_factor=28)  # equal to this recogniser
    assert torch.allclose(views(model, photo), views(model, flat), atol=1.5 / 255)


def test_a_picture_without_a_face_or_with_a_value_that_is_not_finite_is_one_line() -> None:
    with pytest.raises(GeneratorError, match="arc2face: no face in a picture that was made") as caught:
        views(tiny(faces=0), smooth_images()[:1])
    assert "\n" not in str(caught.value)
    model = tiny()
    nn.init.constant_(model.get_parameter("vae.paint.bias"), torch.nan)
    with pytest.raises(GeneratorError, match="not finite"):
        views(model, smooth_images()[:1])


def test_the_crop_of_a_face_at_the_template_is_the_picture_made_small() -> None:
    picture = (smooth_images()[0] * 255).round().to(torch.uint8)
    assert (FaceAligner(Fixed())(picture).int() - picture.int()).abs().max() <= 1


def test_without_files_the_doctor_and_the_error_name_what_is_missing(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(tmp_path))
    block = compose_config(["experiment=smoke", "generator=arc2face"]).generator
    said = "\n".join(map(str, missing_of_generator(block)))
    for name in ("arcface.onnx", "encoder/pytorch_model.bin", "arc2face/diffusion_pytorch_model.safetensors", "vae/"):
        assert name in said
    assert "https://huggingface.co/FoivosPar/Arc2Face" in said
    with pytest.raises(ValueError, match=r"generator: .*(arcface\.onnx|pip install)") as caught:
        build_generator(resolved(block))
    assert "\n" not in str(caught.value)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, WeightFile]:
    """Files of small networks of diffusers, named as the published ones and as older versions wrote them."""
    pytest.importorskip("diffusers", reason="needs diffusers: pip install 'cloakbench[arc2face]'")
    small_unet = {
        "layers_per_block": 1,
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": WIDTH,
    }
    small_vae = {"layers_per_block": 1, "block_out_channels": (32,) * 4}
    monkeypatch.setattr(arc2face, "_UNET", {**arc2face._UNET, **small_unet})
    monkeypatch.setattr(arc2face, "_VAE", {**arc2face._VAE, **small_vae})
    builders = {**arc2face.network_builders(), "encoder": text_encoder}
    monkeypatch.setattr(arc2face, "network_builders", lambda: builders)
    files = {}
    for part, build in builders.items():
        with torch.random.fork_rng():
            torch.manual_seed(3)
            state = {_years_ago(name): value.contiguous() for name, value in build().state_dict().items()}
        if part == "encoder":
            state["text_model.embeddings.position_ids"] = torch.arange(PLACES)[None]
        save_file(state, tmp_path / f"{part}.safetensors")
        files[part] = WeightFile(path=str(tmp_path / f"{part}.safetensors"))
    return files


def _years_ago(name: str) -> str:
    """What a parameter of the decoder's attention was called."""
    head, found, tail = name.partition(".mid_block.attentions.0.")
    for old, new in arc2face._OLD_NAMES.items():
        if found and tail.startswith(f"{new}."):
            return f"{head}{found}{old}{tail.removeprefix(new)}"
    return name


def load(weights: dict[str, WeightFile]) -> Arc2Face:
    return load_arc2face(
        name="arc2face",
        recogniser=tiny().recogniser,
        align=FaceAligner(Fixed()),
        weights=weights,
        steps=2,
        guidance=3.0,
        together=2,
        card={"kind": "latent diffusion", "page": "https://example.org"},
    )


@pytest.mark.slow
def test_networks_of_diffusers_come_from_files_and_draw(published: dict[str, WeightFile]) -> None:
    model = load(published)
    made = views(model, smooth_images()[:2], count=2)
    assert made.shape == (2, 2, 3, 112, 112) and float(made.std()) > 0
    assert torch.equal(made, views(model, smooth_images()[:2], count=2))
    alone = views(model, smooth_images()[:1], count=2)
    assert (made[:1] - alone).abs().max() <= 1.5 / 255
    assert len(model.card.weights_sha256) == 64


def test_a_file_that_is_missing_of_another_digest_or_of_another_network_is_one_line(
    published: dict[str, WeightFile], tmp_path: Path
) -> None:
    wrong = {
        "no weight file at .* https://example.org": {"unet": WeightFile(path=str(tmp_path / "absent.safetensors"))},
        "expected 0000": {"vae": WeightFile(path=published["vae"].path, sha256="0" * 64)},
        "does not fit": {"encoder": WeightFile(path=published["vae"].path)},
    }
    for said, files in wrong.items():
        with pytest.raises(WeightError, match=said) as caught:
            load({**published, **files})
        assert "\n" not in str(caught.value)
    del published["vae"]
    with pytest.raises(WeightError, match="arc2face has no file of its vae"):
        load(published)


def test_the_solver_is_the_one_that_the_published_pipeline_makes_of_its_own() -> None:
    diffusers = pytest.importorskip("diffusers", reason="needs diffusers: pip install 'cloakbench[arc2face]'")
    base = diffusers.PNDMScheduler(  # scheduler_config.json of Stable Diffusion 1.5
        beta_end=0.012,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        num_train_timesteps=1000,
        set_alpha_to_one=False,
        skip_prk_steps=True,
        steps_offset=1,
        trained_betas=None,
    )
    theirs = diffusers.DPMSolverMultistepScheduler.from_config(base.config)
    ours = arc2face.official_solver()
    for one in (theirs, ours):
        one.set_timesteps(25)
    assert torch.equal(ours.timesteps, theirs.timesteps)
    assert torch.equal(ours.sigmas, theirs.sigmas)
    same = {
        "algorithm_type",
        "solver_order",
        "prediction_type",
        "thresholding",
        "lower_order_final",
        "timestep_spacing",
    }
    assert all(ours.config[name] == theirs.config[name] for name in same)


def test_the_text_encoder_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="needs transformers, an independent implementation")
    settings = transformers.CLIPTextConfig(
        vocab_size=50,
        max_position_embeddings=PLACES,
        hidden_size=WIDTH,
        intermediate_size=32,
        num_attention_heads=2,
        num_hidden_layers=2,
        hidden_act="quick_gelu",
        eos_token_id=49,
    )
    with torch.random.fork_rng():
        torch.manual_seed(4)
        theirs = transformers.CLIPTextModel(settings).eval()
    ours = text_encoder(words=50)
    known = set(ours.state_dict())
    prefix = "" if "text_model.final_layer_norm.weight" in theirs.state_dict() else "text_model."
    state = {f"{prefix}{name}": value for name, value in theirs.state_dict().items()}
    ours.load_state_dict({name: value for name, value in state.items() if name in known})
    words = torch.tensor([[48, 3, 7, 7, 49, 49, 49, 49, 49], [48, 1, 2, 3, 4, 5, 6, 7, 49]])
    with torch.no_grad():
        expected = theirs(input_ids=words).last_hidden_state
        assert torch.allclose(ours(ours.vectors(words)), expected, atol=1e-5)


def test_the_config_of_arc2face_names_its_parts_and_no_path_is_in_a_fingerprint(
    published: dict[str, WeightFile], tmp_path: Path
) -> None:
    block = resolved(compose_config(["experiment=smoke", "generator=arc2face"]).generator)
    assert set(block["weights"]) == set(published)
    assert (block["steps"], block["guidance"]) == (25, 3.0)
    model = load(published)
    moved = {**block, "weights": {part: {**one, "path": "elsewhere"} for part, one in block["weights"].items()}}
    moved["recogniser"] = {**block["recogniser"], "weights": {**block["recogniser"]["weights"], "path": "elsewhere"}}
    assert generator_fingerprint(block, model) == generator_fingerprint(moved, model)
    assert generator_fingerprint(block, model) != generator_fingerprint({**block, "steps": 24}, model)
