"""Peers beside ours, on one network and the same photos: other packages, and published loops as they are written.

Packages get our loss where they take one. `torchattacks` does not: it attacks the cross-entropy of the embeddings
towards themselves, which costs as much next to a network's passes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from scipy.optimize import minimize
from torch import Tensor

from cloakbench.bench.perf.subjects import MODEL, context_of, crowd, embedded_recogniser, method, trained_recogniser
from cloakbench.bench.perf.timing import Ratio, compare
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.context import CountedNetwork, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.base import Recogniser

_EPSILON, _STEP = 8 / 255, 1.5 * 8 / 255 / 10
_RESIZE = 1.1
"""Canvases of 123 px, as ours; torchattacks' own default shrinks photos instead, which costs less."""
_STEPS, _NEIGHBOURS, _STRANGERS = 10, 5, 10
_TIP_IM_STEPS = 3
"""Of 100: all cost the same."""
_OPOM_STEPS, _WARM_UP = 16, 5


def peers(people: int, photos: int, repeats: int, device: torch.device) -> Iterator[Ratio]:
    """Every comparison; a package that is missing is a row that says so."""
    model = embedded_recogniser().to(device)
    context = context_of(model, device)
    batch = crowd(photos, 1, device)
    yield _foolbox(model, batch, context, repeats)
    yield from _torchattacks(model, batch, context, repeats)
    few = max(1, repeats // 2)
    yield _opom_one_at_a_time(model, crowd(people, people, device), context, few)
    yield _tip_im_one_at_a_time(crowd(max(1, photos // 4), 1, device), context, few)


def _foolbox(model: Recogniser, batch: PhotoBatch, context: ProtectContext, repeats: int) -> Ratio:
    name = "PGD / foolbox LinfPGD"
    if importlib.util.find_spec("foolbox") is None:
        return Ratio(name, 1.0, note="foolbox is not installed: pip install 'cloakbench[peers]'")
    from foolbox.attacks import LinfPGD
    from foolbox.criteria import Misclassification
    from foolbox.models.pytorch import PyTorchModel

    class EmbeddingPGD(LinfPGD):
        """foolbox's own loop with our loss in place of cross-entropy."""

        def get_loss_fn(self, model, labels):
            return lambda inputs: (model(inputs) - labels).square().sum()

    wrapped = PyTorchModel(model, bounds=(0, 1), device=context.device)
    attack = EmbeddingPGD(abs_stepsize=_STEP, steps=_STEPS, random_start=True)

    def peer() -> None:
        with torch.no_grad():
            anchors = model.embed(batch.images)
        # `run` is the bare attack; calling the object would add a forward pass to judge success.
        attack.run(wrapped, batch.images, Misclassification(anchors), epsilon=_EPSILON)

    return _beside(name, "pgd", peer, batch, context, repeats, "ours also rounds, checks and measures")


def _torchattacks(model: Recogniser, batch: PhotoBatch, context: ProtectContext, repeats: int) -> Iterator[Ratio]:
    common = {"eps": _EPSILON, "alpha": _STEP, "steps": _STEPS}
    attacks: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        "PGD": ("pgd", common, {}),
        "MIFGSM": ("mi_fgsm", common, {}),
        "TIFGSM": ("ti_dim", {**common, "len_kernel": 7, "nsig": 1, "resize_rate": _RESIZE, "diversity_prob": 0.5}, {}),
        "VMIFGSM": ("vmi_fgsm", {**common, "N": _NEIGHBOURS}, {"neighbours": _NEIGHBOURS}),
    }
    for attack_name, (ours, settings, changes) in attacks.items():
        name = f"{ours} / torchattacks {attack_name}"
        if importlib.util.find_spec("torchattacks") is None:
            yield Ratio(name, 1.0, note="torchattacks is not installed: pip install --no-deps torchattacks==3.5.1")
            continue
        import torchattacks

        attack = getattr(torchattacks, attack_name)(model, **settings)

        def peer(attack: Callable[[Tensor, Tensor], Tensor] = attack) -> None:
            with torch.no_grad():
                anchors = model.embed(batch.images)
            attack(batch.images, anchors)

        note = "with another loss" + "; one draw for all photos, ours one for each" * (attack_name == "TIFGSM")
        yield _beside(name, ours, peer, batch, context, repeats, note, **changes)


def _beside(
    name: str,
    ours: str,
    peer: Callable[[], object],
    batch: PhotoBatch,
    context: ProtectContext,
    repeats: int,
    note: str,
    **changes: Any,
) -> Ratio:
    protector = method(ours, **changes)
    return compare(name, lambda: protector.protect(batch, context), peer, repeats, context.device, bar=1.0, note=note)


def _opom_one_at_a_time(model: Recogniser, batch: PhotoBatch, context: ProtectContext, repeats: int) -> Ratio:
    """OPOM-ConvexHull one person after the other: a solver of convex programs for each photo and step, clean photos
    embedded again at every step, and the network as it was trained, with gradients of weights that nobody asked for."""
    ours = method("opom_convex_hull")
    references = batch.require_references()
    network = trained_recogniser(MODEL, model).requires_grad_(True)
    trained = network.embed

    def peer() -> None:
        for photos in references:
            noise = torch.empty_like(photos).uniform_(-_EPSILON, _EPSILON)
            seen = photos + noise
            for step in range(_OPOM_STEPS):
                clean = trained(photos).detach()
                leaf = seen.detach().requires_grad_()
                masked = trained(leaf)
                nearest = clean.mean(dim=0) if step < _WARM_UP else _hull_points(masked.detach(), clean)
                network.zero_grad()
                (-(masked - nearest).square().sum(dim=1).mean()).backward()
                assert leaf.grad is not None
                moved = seen - leaf.grad.mean(dim=0).sign() / 255 - photos
                seen = (photos + moved.mean(dim=0).clamp(-_EPSILON, _EPSILON)).clamp(0, 1)

    return compare(
        "OPOM-ConvexHull / one person at a time",
        lambda: ours.protect(batch, context),
        peer,
        repeats,
        context.device,
        bar=1.0,
        note="scipy's SLSQP for each photo and step, weight gradients on",
    )


def _hull_points(masked: Tensor, clean: Tensor) -> Tensor:
    points = clean.double().cpu().numpy()
    count = len(points)
    sums_to_one = {"type": "eq", "fun": lambda weights: weights.sum() - 1}
    found = []
    for query in masked.double().cpu().numpy():
        solved = minimize(
            lambda weights, query=query: ((weights @ points - query) ** 2).sum(),
            [1 / count] * count,
            jac=lambda weights, query=query: 2 * points @ (weights @ points - query),
            bounds=[(0, 1)] * count,
            constraints=[sums_to_one],
            method="SLSQP",
        )
        found.append(torch.from_numpy(solved.x @ points))
    return torch.stack(found).to(masked)


def _tip_im_one_at_a_time(batch: PhotoBatch, context: ProtectContext, repeats: int) -> Ratio:
    """TIP-IM photo by photo: a forward and a backward pass for each stranger, where ours shares the forward pass."""
    strangers = crowd(_STRANGERS, _STRANGERS, torch.device("cpu"))
    pool = FaceSet((255 * strangers.images).byte(), strangers.image_id, strangers.identities)
    aimed = replace(context, auxiliary=pool)
    ours, model = method("tip_im", steps=_TIP_IM_STEPS), context.surrogates[0]

    def peer() -> None:
        with torch.no_grad():
            targets = model.embed(strangers.images.to(context.device))
        for image in batch.images.split(1):
            with torch.no_grad():
                own = model.embed(image)
            photo, momentum = image, torch.zeros_like(image)
            for _ in range(_TIP_IM_STEPS):
                candidates = [_candidate(model, photo, momentum, image, own, target) for target in targets.split(1)]
                with torch.no_grad():
                    seen = [model.embed(one) for one, _ in candidates]
                    gains = [
                        (one - own).norm() - (one - target).norm()
                        for one, target in zip(seen, targets.split(1), strict=True)
                    ]
                photo, momentum = candidates[int(torch.stack(gains).argmax())]

    name, note = "TIP-IM / one photo and stranger at a time", f"{_TIP_IM_STEPS} of 100 steps"
    return compare(name, lambda: ours.protect(batch, aimed), peer, repeats, context.device, bar=1.0, note=note)


def _candidate(
    model: CountedNetwork, photo: Tensor, momentum: Tensor, image: Tensor, own: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """The photo one step nearer to a stranger, and the momentum of that step."""
    epsilon = 12 / 255
    leaf = photo.detach().requires_grad_()
    seen = model.embed(leaf)
    loss = (seen - target).square().mean() - (seen - own).square().mean()
    (gradient,) = torch.autograd.grad(loss, leaf)
    momentum = momentum + gradient / gradient.abs().mean().clamp(min=1e-12)
    step = momentum * (1.5 * epsilon / 100 * momentum.numel() ** 0.5 / momentum.norm().clamp(min=1e-12))
    return (image + (photo - step - image).clamp(-epsilon, epsilon)).clamp(0, 1), momentum
