"""The context: what it counts, what it refuses to be asked for, what a copy of it starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from cloakbench.methods.base import Protector, Scope, Stage
from cloakbench.methods.context import Kept, MemoryCheckpoint, MissingNeedError, Need, NetworkKind, ProtectContext
from cloakbench.methods.parts.tiny_world import SIDE, photos_without, tiny_context, tiny_photos


class Halves(nn.Module):
    """Two attributes of a photo: the brightness of its upper and of its lower half."""

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        upper, lower = (half.mean(dim=(1, 2, 3)) for half in images.chunk(2, dim=2))
        return {"upper": torch.stack([upper, -upper], dim=1), "lower": torch.stack([lower, -lower], dim=1)}


def with_network(kind: NetworkKind, network: nn.Module) -> ProtectContext:
    return ProtectContext({kind: (network,)})


def test_passes_through_a_recogniser_are_counted_in_images() -> None:
    context, images = tiny_context(), tiny_photos().images.requires_grad_()
    model = context.surrogates[0]
    embeddings = model.embed(images)
    torch.autograd.grad(embeddings.sum(), images, retain_graph=True)
    torch.autograd.grad(embeddings.sum(), images)
    with torch.no_grad():
        model.embed(images[:2])
    assert (context.spent.forward_images, context.spent.backward_images) == (6 + 2, 2 * 6)
    assert torch.equal(embeddings, model.model.embed(images))


@pytest.mark.parametrize("asked", [["upper"], ["lower"], ["upper", "lower"]])
def test_attributes_that_are_answered_together_count_once_whichever_are_used(asked: list[str]) -> None:
    context = with_network(NetworkKind.ATTRIBUTE_SURROGATE, Halves())
    (model,) = context.of_kind(NetworkKind.ATTRIBUTE_SURROGATE)
    images = tiny_photos().images.requires_grad_()
    for _ in range(2):
        answers = model.logits(images)
        torch.autograd.grad(torch.stack([answers[name].sum() for name in asked]).sum(), images)
    assert (context.spent.forward_images, context.spent.backward_images) == (2 * 6, 2 * 6)


@pytest.mark.parametrize("kind", [NetworkKind.PURIFIER])
def test_a_purifier_is_called_and_counted(kind: NetworkKind) -> None:
    context = with_network(kind, nn.AvgPool2d(3, 1, 1))
    images = tiny_photos().images
    assert context.of_kind(kind)[0](images).shape == images.shape
    assert context.spent.forward_images == 6


def test_a_network_of_the_wrong_kind_says_so() -> None:
    context = with_network(NetworkKind.RECOGNISER, Halves())
    with pytest.raises(TypeError, match=r"Halves has no embed\(\): give a network of the kind"):
        context.surrogates[0].embed(tiny_photos().images)


@pytest.mark.parametrize("kind", list(NetworkKind))
def test_what_is_not_there_is_refused_by_name(kind: NetworkKind) -> None:
    with pytest.raises(MissingNeedError, match=kind):
        ProtectContext().of_kind(kind)


def test_photos_refuse_what_their_owners_did_not_give() -> None:
    asks: dict[Need, Any] = {
        Need.REFERENCES: lambda batch: batch.require_references(),
        Need.LANDMARKS: lambda batch: batch.require_landmarks(),
        Need.REFERENCE_LANDMARKS: lambda batch: batch.require_reference_landmarks(),
        Need.GENERATOR: lambda batch: batch.require_views(),
        Need.AIM: lambda batch: batch.require_aim_photos(),
    }
    for need, ask in asks.items():
        assert len(ask(tiny_photos())) in (3, 6)
        with pytest.raises(MissingNeedError, match=need):
            ask(photos_without(need, tiny_photos()))
    with pytest.raises(MissingNeedError, match="auxiliary"):
        replace(tiny_context(), auxiliary=None).require_auxiliary()


def test_a_copy_counts_from_zero_and_has_facts_of_its_own() -> None:
    context = tiny_context()
    context.surrogates[0].embed(tiny_photos().images)
    context.facts["rounds"] = 3
    copy = replace(context, seed=1)
    assert copy.spent.forward_images == 0 and copy.facts == {}
    copy.surrogates[0].embed(tiny_photos().images[:1])
    assert (context.spent.forward_images, copy.spent.forward_images) == (6, 1)
    assert copy.surrogates[0].model is context.surrogates[0].model, "wrapped once, not twice"


def test_resuming_takes_over_what_was_spent() -> None:
    checkpoint = MemoryCheckpoint()
    context = replace(tiny_context(), checkpoint=checkpoint)
    assert context.resume() is None
    weights = torch.zeros(2)
    context.surrogates[0].embed(tiny_photos().images)
    context.keep({"weights": weights})
    weights.add_(1)
    again = replace(context)
    again.surrogates[0].embed(tiny_photos().images)
    reached = again.resume()
    assert reached is not None and torch.equal(reached["weights"], torch.zeros(2)), "kept by value"
    assert again.spent.forward_images == 6
    kept = checkpoint.load()
    assert kept is not None and again.spent.seconds() >= kept.seconds


@dataclass(frozen=True)
class Counts(Stage):
    """A stage that adds one to what the stage before it gave."""

    name: ClassVar[str] = "counts"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.AUXILIARY})
    start: int = 0
    after: str = ""

    def run(self, context: ProtectContext) -> dict[str, Tensor]:
        before = context.trained[self.after]["count"] if self.after else torch.tensor(self.start)
        return {"count": before + 1}


@dataclass(frozen=True)
class CountsOn(Counts):
    name: ClassVar[str] = "counts on"


class InStages(Protector):
    """Trains in two stages."""

    name: ClassVar[str] = "in stages"
    scope: ClassVar[Scope] = "universal"
    paper: ClassVar[str] = "none; a test"

    def stages(self) -> tuple[Stage, ...]:
        return (Counts(3), CountsOn(after="counts"))

    def perturb(self, batch: Any, fitted: Any, context: ProtectContext) -> Tensor:
        return batch.images + context.trained["counts on"]["count"] / 255


def test_stages_run_in_order_each_on_what_came_before() -> None:
    method = InStages()
    trained = method.run_training(tiny_context())
    assert {name: int(tensors["count"]) for name, tensors in trained.tensors.items()} == {"counts": 4, "counts on": 5}
    protected = method.protect(tiny_photos(), replace(tiny_context(), trained=trained.tensors))
    assert protected.linf_255.unique().tolist() == [5]
    assert Counts(3).settings == {"start": 3, "after": ""}


def test_a_stage_without_its_needs_and_photos_before_training_are_refused() -> None:
    method = InStages()
    with pytest.raises(MissingNeedError, match="in stages needs auxiliary"):
        method.run_training(replace(tiny_context(), auxiliary=None))
    with pytest.raises(MissingNeedError, match=r"trained first \(counts on\)"):
        method.protect(tiny_photos(), replace(tiny_context(), trained={"counts": {}}))


def test_training_that_diverges_is_refused() -> None:
    class Diverges(InStages):
        def stages(self) -> tuple[Stage, ...]:
            return (NotANumber(),)

    with pytest.raises(ValueError, match=r"training diverged \(weights is not finite\)"):
        Diverges().run_training(tiny_context())


@dataclass(frozen=True)
class NotANumber(Stage):
    """Gives NaN."""

    name: ClassVar[str] = "diverges"

    def run(self, context: ProtectContext) -> dict[str, Tensor]:
        return {"weights": torch.full((SIDE,), torch.nan)}


def test_nothing_is_kept_unless_somebody_keeps_it() -> None:
    context = tiny_context()
    context.keep({"weights": torch.zeros(1)})
    assert context.resume() is None
    assert isinstance(context.checkpoint.load(), Kept | None)
