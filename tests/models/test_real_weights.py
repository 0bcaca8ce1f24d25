"""Published weights on real faces: every weight file of the real-face pack loads and does what its manifest measured.

The pack lies in ``shared/real`` beside the checkout, or where ``CLOAKBENCH_REAL`` says; without it these tests skip.
"""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image
from real_pack import PACK, requires_pack
from torch import Tensor

from cloakbench.models.base import InputSpec, Recogniser, embed_in_batches
from cloakbench.models.loading import fill
from cloakbench.models.onnx_reader.load import load_onnx
from cloakbench.models.state_dict import read_state_dict
from cloakbench.models.weight_file import WeightFile

ROOT = Path(__file__).resolve().parents[2]

pytestmark = requires_pack

PRESETS = {"mobilefacenet_casia": "mobilefacenet_casia", "mobilefacenet_y1": "mobilefacenet_y1"}
"""Preset to manifest entry, for the models whose figures the manifest gives."""


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return json.loads((PACK / "MANIFEST.json").read_text())


@pytest.fixture(scope="module")
def entries(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in manifest["weights"]}


def _rows(table: str) -> list[dict[str, str]]:
    with (PACK / table).open(newline="") as file:
        return list(csv.DictReader(file))


def _aligned(face: str) -> Tensor:
    """uint8 ``[3, 112, 112]`` of the aligned crop of ``faces/<identity>/<n>.jpg``."""
    path = PACK / "aligned112" / Path(face).relative_to("faces").with_suffix(".png")
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


def _load(preset: str, *overrides: str) -> Recogniser:
    with pytest.MonkeyPatch.context() as patch, initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        patch.setenv("CLOAKBENCH_WEIGHTS", str(PACK / "weights"))
        return instantiate(compose(overrides=[f"+model={preset}", *overrides]).model)


def _embed(model: Recogniser, faces: list[str]) -> dict[str, Tensor]:
    images = torch.stack([_aligned(face) for face in faces])
    return dict(zip(faces, embed_in_batches(model, images, 50, torch.device("cpu")), strict=True))


class Embedded:
    """One recogniser and its embedding of every identified face of the pack."""

    def __init__(self, preset: str, manifest: dict[str, Any]) -> None:
        self.preset = preset
        self.model = _load(preset)
        self.images = [image for image in manifest["images"] if image.get("aligned") and image.get("identity")]
        self.embeddings = _embed(self.model, [image["file"] for image in self.images])

    def subset(self, name: str) -> tuple[Tensor, np.ndarray]:
        """Embeddings and identities of one subset."""
        chosen = [image for image in self.images if image["subset"] == name]
        rows = torch.stack([self.embeddings[image["file"]] for image in chosen])
        return rows, np.array([image["identity"] for image in chosen])


@pytest.fixture(scope="module", params=PRESETS)
def embedded(request: pytest.FixtureRequest, manifest: dict[str, Any]) -> Embedded:
    return Embedded(request.param, manifest)


def _leave_one_out_hits(photos: Tensor, people: np.ndarray, distractors: Tensor) -> int:
    """Photos whose most similar other face, distractors included, shows the same person."""
    similarity = (photos @ torch.cat([photos, distractors]).T).fill_diagonal_(-1)
    nearest = similarity.argmax(1).numpy()
    gallery = np.concatenate([people, np.full(len(distractors), "")])
    return int((gallery[nearest] == people).sum())


@pytest.mark.parametrize("preset", [*PRESETS, "mobilefacenet_casia_onnx"])
def test_reference_outputs(preset: str, entries: dict[str, dict[str, Any]]) -> None:
    model, entry = _load(preset), entries[preset.removesuffix("_onnx")]
    file = entry["cross_check"] if preset.endswith("_onnx") else entry
    assert model.card.weights_sha256 == file["sha256"]
    assert model.card.embedding_size == entry["measured"]["embedding_size"]
    references = entry["measured"]["reference_outputs"]
    ours = _embed(model, [reference["file"] for reference in references])
    for reference in references:
        expected = torch.tensor(reference["embedding_first8"])
        torch.testing.assert_close(ours[reference["file"]][:8], expected, rtol=0, atol=1e-4)


def test_checkpoint_and_its_export_agree_in_output_and_gradient(entries: dict[str, dict[str, Any]]) -> None:
    faces = [reference["file"] for reference in entries["mobilefacenet_casia"]["measured"]["reference_outputs"]]
    images = (torch.stack([_aligned(face) for face in faces]).float() / 255).requires_grad_()
    outputs, gradients = [], []
    for preset in ("mobilefacenet_casia", "mobilefacenet_casia_onnx"):
        embeddings = _load(preset).embed(images)
        outputs.append(embeddings.detach())
        (gradient,) = torch.autograd.grad((embeddings * embeddings.detach().roll(1, 0)).sum(), images)
        gradients.append(gradient)
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-5)
    assert torch.cosine_similarity(*(gradient.flatten() for gradient in gradients), dim=0) > 0.9999
    margin = torch.cat([gradients[0][..., :8], gradients[0][..., 104:]], dim=-1)
    assert (margin == 0).all(), "the crop keeps columns 8 to 103"
    assert (gradients[0].flatten(1).abs().amax(1) > 0).all()


@pytest.mark.parametrize(
    "file", ["mobilefacenet_y1", "mobilefacenet_b", "mobilefacenet_casia", "faceapi_age_gender", "faceapi_expression"]
)
def test_the_packs_onnx_files_run_as_in_onnxruntime(file: str) -> None:
    """Each output of each file, for photos together and for each alone."""
    runtime = pytest.importorskip("onnxruntime")
    path = PACK / "weights" / f"{file}.onnx"
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    height, width = session.get_inputs()[0].shape[2:]
    network = load_onnx(path, InputSpec(size=(height, width)))
    images = 2 * torch.rand(3, 3, height, width, generator=torch.Generator().manual_seed(0)) - 1
    found = network(images)
    for place, part in enumerate(found if isinstance(found, tuple) else (found,)):
        alone = [session.run(None, {session.get_inputs()[0].name: image[None].numpy()})[place] for image in images]
        expected = torch.from_numpy(np.concatenate(alone))
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.slow
def test_verification_auc(embedded: Embedded, entries: dict[str, dict[str, Any]]) -> None:
    measured = entries[PRESETS[embedded.preset]]["measured"]["on_this_pack"]
    for subset, expected in measured.items():
        pairs = [row for row in _rows("pairs.csv") if row["subset"] == subset]
        first, second = (
            torch.stack([embedded.embeddings[row[side]] for row in pairs]) for side in ("file_a", "file_b")
        )
        similarity = (first * second).sum(1)
        same = torch.tensor([row["same"] == "1" for row in pairs])
        difference = similarity[same][:, None] - similarity[~same][None]
        auc = ((difference > 0).float() + 0.5 * (difference == 0)).mean().item()
        assert (int(same.sum()), int((~same).sum())) == (expected["genuine_pairs"], expected["impostor_pairs"])
        assert auc == pytest.approx(expected["auc"], abs=1e-3), subset


@pytest.mark.slow
def test_identification_anchors(embedded: Embedded, entries: dict[str, dict[str, Any]]) -> None:
    anchors = entries[PRESETS[embedded.preset]]["measured"]["anchors_lfw"]
    photos, people = embedded.subset("lfw")
    distractors, _ = embedded.subset("lfw_single")
    hits = _leave_one_out_hits(photos, people, distractors)
    assert hits == anchors["leave_one_out"]["top1_hits"]
    assert embedded.model.card.clean_top1 == pytest.approx(hits / len(photos), abs=5e-5)

    similarity = photos @ photos.T
    mates = torch.from_numpy(people[:, None] == people[None]).fill_diagonal_(False)
    stronger = ((photos @ distractors.T)[:, None, :] > similarity[:, :, None]).sum(-1)[mates]
    assert len(stronger) == anchors["pairwise_p1"]["ordered_pairs"]
    assert int((stronger < 1).sum()) == anchors["pairwise_p1"]["top1_hits"]
    assert int((stronger < 5).sum()) == anchors["pairwise_p1"]["top5_hits"]


@pytest.mark.slow
@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_wrong_input_scale_scores_lower(embedded: Embedded, factor: float) -> None:
    """Ten times or a tenth of the range the network was trained with costs recognition."""
    photos, people = embedded.subset("lfw")
    photos, people = photos[:100], people[:100]
    distractors, _ = embedded.subset("lfw_single")
    right = _leave_one_out_hits(photos, people, distractors)
    assert right >= 90

    inputs = embedded.model.inputs
    assert isinstance(inputs.std, float)
    scaled = Recogniser(embedded.model.network, replace(inputs, std=inputs.std / factor), embedded.model.card)
    files = {name: [row["file"] for row in embedded.images if row["subset"] == name] for name in ("lfw", "lfw_single")}
    rows = torch.stack(list(_embed(scaled, [*files["lfw"][:100], *files["lfw_single"]]).values()))
    assert _leave_one_out_hits(rows[:100], people, rows[100:]) < right


def test_detector_networks(entries: dict[str, dict[str, Any]]) -> None:
    mtcnn = pytest.importorskip("facenet_pytorch.models.mtcnn", reason="needs the detect extra")
    for name, build, side in (
        ("mtcnn_pnet", mtcnn.PNet, 12),
        ("mtcnn_rnet", mtcnn.RNet, 24),
        ("mtcnn_onet", mtcnn.ONet, 48),
    ):
        entry = entries[name]
        path, _ = WeightFile(str(PACK / entry["file"]), sha256=entry["sha256"]).resolve()
        network = fill(lambda build=build: build(pretrained=False), read_state_dict(path), path).eval()
        images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
        for ours, theirs in zip(network(images), build(pretrained=True).eval()(images), strict=True):
            torch.testing.assert_close(ours, theirs, msg="the wheel of facenet-pytorch carries the same weights")
