"""FaceCloak: one mask per person from a single photo, learnt on other pictures of them, stronger where it matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import SettingError, at_least, grey_levels, grey_step, number, one_of, whole
from cloakbench.methods.base import Budget, Protector, Scope
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.facecloak.anchors import LEAST_PEOPLE, AnchorPair, Far, Near, find_pair
from cloakbench.methods.parts.facecloak.attention import (
    AttentionStart,
    as_picture,
    start_attention,
    update_attention_,
)
from cloakbench.methods.parts.facecloak.budget_map import BudgetMap, step_mask_
from cloakbench.methods.parts.facecloak.high_pass import Sign, high_pass, strong_detail
from cloakbench.methods.parts.facecloak.rules import Rules
from cloakbench.methods.parts.facecloak.stickers import find_stickers
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.norms import NormMatch
from cloakbench.methods.parts.transfer.ensemble import Gradients, Transfer
from cloakbench.methods.photo_batch import PhotoBatch

Focus = Literal["stickers", "attention", "high_pass"]
Pictures = Literal["views", "photos"]
"""``views``: pictures that a generator made of the seed photo. ``photos``: further photos of the person."""
Update = Literal["sequential", "mean"]
"""``sequential``: a step after each picture, in their order. ``mean``: one after all of them, by their mean slope."""

_ROW = (-1, 1, 1, 1)


@dataclass(frozen=True)
class Portraits:
    """What M masks are learnt from.

    Attributes:
        names: M names; they seed starts.
        seeds: the photo x_u behind each mask, float ``[M, 3, H, W]``: for its anchors, its detail and its landmarks.
        pictures: S, what a mask is learnt on, float ``[M, K, 3, H, W]``.
        landmarks: of the seed photos, ``[M, 5, 2]``; None where there are no stickers.
    """

    names: tuple[str, ...]
    seeds: Tensor
    pictures: Tensor
    landmarks: Tensor | None


class FaceCloak(Protector):
    """A mask per person that moves pictures of them towards a far anchor and away from a near one.

    T times, for each picture S_k of the person: ``x' = clip(S_k + project(A * d, E))``, and with g the slope in x' of
    ``D(f(x'), far) - D(f(x'), near)``, of which nothing is lost to clipping, ``A <- A - rate * Norm(g * d)`` and
    ``d <- project(d - step * sign(g * A), E)``. Deployed is ``project(A * d, E)``. E is ``focus_255`` inside stickers
    and where the seed photo has strong detail, ``epsilon_255`` elsewhere. Without attention A is one. The equations
    2 to 11 are functions in `cloakbench.methods.parts.facecloak`.

    Paper: Yahn et al., "Personalized Face Privacy Protection From a Single Image", 2025.
    Official settings: epsilon 8, focus budget 32, 10 steps of 2, 8 pictures by Arc2Face, one surrogate (numbers of the
    released code; the text at hand has lost them). That is 80 forward and backward passes per person, 90 with the seed
    photo itself. What the released code does beside the equations is in
    `cloakbench.methods.parts.facecloak.rules.ReleasedRules`.
    Deviations: anchors come from auxiliary faces, who are in no gallery, one photo of each person; the seed photo is
    no probe; a box that leaves the crop is cut where the release drops it; all people of a chunk are optimised
    together; attention steps do not depend on the size of the loss; photos are rounded; several surrogates average
    their losses, and the distances by which anchors are chosen.

    Two readings of the near anchor: by the text it is a similar stranger of the gallery; by the code the gallery holds
    the person, whose own photo is nearest. ``self`` is the default: it is what the printed numbers were made with, and
    what a search compares with is the person, whom nothing else in the loss moves a photo away from.

    Args:
        epsilon_255: Linf budget outside the focused regions in grey levels; with 0 nothing changes inside them, either.
        focus: what strengthens the mask; none of them is the paper's baseline.
        focus_255: Linf budget inside stickers and high-pass mask in grey levels.
        step_255: grey levels per step.
        steps: T.
        references: see `Pictures`; of ``photos`` a person may have fewer than ``view_count``.
        view_count: pictures K.
        keep_photo: learn on the seed photo, too, after the views, as the released code does.
        near, far: see `cloakbench.methods.parts.facecloak.anchors`.
        least_people: that anchors are chosen from; fewer auxiliary people are refused.
        update: see `Update`.
        attention_start: see `cloakbench.methods.parts.facecloak.attention.AttentionStart`.
        attention_rate: of equation 8.
        attention_offset: added to the deviation there.
        high_pass_threshold: of equation 7.
        high_pass_sign: see `cloakbench.methods.parts.facecloak.high_pass.Sign`.
        rules: of the projection; None for those of the equations.
        match_norm: see `cloakbench.methods.parts.norms.NormMatch`.
        transfer: how slopes are taken; None for the mean over surrogates, of the pictures themselves.

    Raises:
        SettingError: a parameter is out of range.

    The budget that is declared is the larger of the two where anything is focused on, so that tables, which name rows
    by ``epsilon_255``, print a larger Linf beside it; every value of a mask is within its own bound of E.

    Facts: ``anchor_people`` and ``pictures``, how many there were; ``focused_share``, of the values that may pass
    epsilon; ``stickers_cut``, boxes that left the crop; ``landmarks_outside`` the crop; ``faces_without_landmarks``,
    whose photos fail; ``share_at_epsilon``, of the values of ``A * d`` in its last state that reach epsilon, and
    ``median_over_epsilon``, their median size over it.
    """

    name: ClassVar[str] = "facecloak"
    scope: ClassVar[Scope] = "identity"
    paper: ClassVar[str] = "Yahn et al., Personalized Face Privacy Protection From a Single Image, 2025"
    official_settings: ClassVar[str] = "epsilon 8, 32 inside the focus, 10 steps of 2, 8 pictures by Arc2Face"
    deviations: ClassVar[str] = (
        "anchors from auxiliary faces; seed photo is no probe; boxes cut at the border; one bound where regions overlap"
    )

    def __init__(
        self,
        epsilon_255: float = 8,
        *,
        focus: Sequence[Focus] = get_args(Focus),
        focus_255: float = 32,
        step_255: float = 2,
        steps: int = 10,
        references: Pictures = "views",
        view_count: int = 8,
        keep_photo: bool = False,
        near: Near = "self",
        far: Far = "pool",
        least_people: int = LEAST_PEOPLE,
        update: Update = "sequential",
        attention_start: AttentionStart = "ones",
        attention_rate: float = 0.01,
        attention_offset: float = 0.0,
        high_pass_threshold: float = 1.0,
        high_pass_sign: Sign = "absolute",
        rules: Rules | None = None,
        match_norm: Mapping[str, float | None] | None = None,
        transfer: Transfer | None = None,
    ) -> None:
        self.epsilon_255 = grey_levels("epsilon_255", epsilon_255)
        self.focus = _chosen("focus", focus)
        self.focus_255 = grey_levels("focus_255", focus_255)
        self.step_255, self.steps = grey_step("step_255", step_255), whole("steps", steps)
        self.references: Pictures = one_of("references", references, get_args(Pictures))
        self.most_pictures, self.keep_photo = whole("view_count", view_count), keep_photo
        if keep_photo and references == "photos":
            raise SettingError("keep_photo", True, "false with references=photos, which begin with the seed photo")
        self.near: Near = one_of("near", near, get_args(Near))
        self.far: Far = one_of("far", far, get_args(Far))
        self.least_people = whole("least_people", least_people, LEAST_PEOPLE)
        self.update: Update = one_of("update", update, get_args(Update))
        self.attention_start: AttentionStart = one_of("attention_start", attention_start, get_args(AttentionStart))
        self.attention_rate = at_least("attention_rate", attention_rate)
        self.attention_offset = at_least("attention_offset", attention_offset)
        self.high_pass_threshold = number("high_pass_threshold", high_pass_threshold)
        self.high_pass_sign: Sign = one_of("high_pass_sign", high_pass_sign, get_args(Sign))
        self.rules = rules or Rules()
        self.match_norm, self.match, self.transfer = match_norm, NormMatch(match_norm), transfer or Transfer()
        self.targeted = far == "aim"
        self.needs = self._needs()
        self.view_count = view_count if Need.GENERATOR in self.needs else 0
        self.budget = self.match.budget(Budget("linf", self._largest_255()))

    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Tensor:
        """The masks, float ``[M, 3, H, W]``: one per person, in the order of ``batch.identities``.

        Raises:
            ValueError: there are fewer views than asked for, or too few people for anchors, or two anchors are one.
        """
        portraits = self.portraits(batch, context)
        context.facts.update(pictures=portraits.pictures.shape[1])
        aims = self._aims(batch) if self.far == "aim" else None
        pair = find_pair(portraits.seeds, self.near, self.far, aims, self.least_people, self.name, context)
        if equal := [name for name, is_one in zip(portraits.names, pair.same().tolist(), strict=True) if is_one]:
            raise ValueError(
                f"{self.name}: near and far anchor of {equal[0]} are the same face, which pull nowhere: give auxiliary "
                "faces of other people (dataset.auxiliary_identities), or set method.near or method.far"
            )
        budget, sound = self._budget(portraits, context)
        masks = self._learn(portraits, pair, budget, context)
        return self.match.scaled(torch.where(sound.view(_ROW), masks, torch.nan))

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return batch.images + fitted[batch.owner]

    def portraits(self, batch: PhotoBatch, context: ProtectContext) -> Portraits:
        """Hook: of each person the first reference photo, and other pictures of them."""
        photos = batch.require_references()
        seeds = photos[:, 0]
        landmarks = batch.require_reference_landmarks()[:, 0] if "stickers" in self.focus else None
        if self.references == "photos":
            return Portraits(batch.identities, seeds, photos[:, : self.most_pictures], landmarks)
        views = batch.require_views()
        if views.shape[1] < self.view_count:
            raise ValueError(
                f"{self.name}: {views.shape[1]} views of each person are given, fewer than "
                f"method.view_count={self.view_count}"
            )
        pictures = views[:, : self.view_count]
        if self.keep_photo:
            pictures = torch.cat([pictures, photos[:, :1]], dim=1)
        return Portraits(batch.identities, seeds, pictures, landmarks)

    def _needs(self) -> frozenset[Need]:
        of_person = {Need.REFERENCES} | ({Need.GENERATOR} if self.references == "views" else set())
        return self._common_needs(Need.REFERENCE_LANDMARKS) | of_person

    def _common_needs(self, landmarks: Need) -> frozenset[Need]:
        return frozenset(
            {Need.SURROGATES}
            | ({Need.AIM} if self.far == "aim" else set())
            | ({Need.AUXILIARY} if self.far != "aim" or self.near == "impostor" else set())
            | ({landmarks} if "stickers" in self.focus else set())
        )

    def _aims(self, batch: PhotoBatch) -> Tensor:
        """Photos of those to be mistaken for, ``[M, 3, H, W]``."""
        return batch.require_aim_photos()

    def _largest_255(self) -> float:
        regions = {"stickers": "stickers" in self.focus, "detail": "high_pass" in self.focus}
        return self.rules.largest_255(self.epsilon_255, self.focus_255, **regions) if self.epsilon_255 else 0.0

    def _budget(self, portraits: Portraits, context: ProtectContext) -> tuple[BudgetMap, Tensor]:
        """How large masks may be before they are deployed, and of whom there is all that it takes, ``[M]``."""
        seeds, levels = portraits.seeds, 255 * self.rules.scale
        stickers = detail = None
        context.shown["seed_photo"] = seeds
        sound = torch.ones(len(seeds), dtype=torch.bool, device=seeds.device)
        if portraits.landmarks is not None:
            found = find_stickers(portraits.landmarks, *seeds.shape[-2:])
            stickers, sound = found.inside, found.known
            context.shown["stickers"] = stickers.float()
            context.facts.update(
                stickers_cut=found.cut,
                landmarks_outside=found.outside,
                faces_without_landmarks=int((~found.known).sum()),
            )
        if "high_pass" in self.focus:
            detail = strong_detail(high_pass(seeds), self.high_pass_threshold, self.high_pass_sign)
            context.shown["high_pass_mask"] = detail.float()
        focus_255 = self.focus_255 if self.epsilon_255 else 0.0
        budget = BudgetMap.of(self.epsilon_255 / levels, focus_255 / levels, stickers, detail, seeds)
        context.facts.update(focused_share=budget.focused_share)
        return budget, sound

    def _learn(self, portraits: Portraits, pair: AnchorPair, budget: BudgetMap, context: ProtectContext) -> Tensor:
        rules, step = self.rules, self.step_255 / (255 * self.rules.scale)
        streams = ItemStreams(portraits.names, context.seed, self.name, device=context.device)
        noise = streams.uniform(*portraits.seeds.shape[1:], low=-budget.epsilon, high=budget.epsilon)
        attention = start_attention(self.attention_start, noise, streams) if "attention" in self.focus else None
        at_once = 1 if self.update == "sequential" else portraits.pictures.shape[1]
        seen_together = []
        for first, pictures in enumerate(portraits.pictures.split(at_once, dim=1)):
            own = streams.branch("picture", first).repeated(pictures.shape[1])
            seen_together.append((pictures, self.transfer.begin(own, context.surrogates, pictures.flatten(0, 1))))
        room = torch.empty_like(noise)  # new memory for each product would take as long as the product
        for _ in range(self.steps):
            for pictures, gradients in seen_together:
                mask = noise if attention is None else torch.mul(attention, noise, out=room)
                slope = _slope(rules.seen(pictures, mask, budget), pair, gradients)
                if attention is not None:
                    slope_in_attention = torch.mul(slope, noise, out=room)
                    slope.mul_(attention)
                    update_attention_(attention, slope_in_attention, self.attention_rate, self.attention_offset)
                    attention = rules.weights(attention)
                noise = rules.kept(step_mask_(noise, slope, step), budget)
        mask = noise if attention is None else attention * noise
        if attention is not None:
            context.shown["attention"] = as_picture(attention)
        context.facts.update(budget.fullness(mask))
        return rules.scale * rules.deployed(mask, budget)


def _slope(photos: Tensor, pair: AnchorPair, gradients: Gradients) -> Tensor:
    """Slope of the loss in photos ``[M, k, 3, H, W]``, the mean over the k, ``[M, 3, H, W]`` in memory like a mask."""
    shape = photos.shape[:2]
    slope = gradients(
        photos.flatten(0, 1), lambda surrogate, embeddings: pair.loss(surrogate, embeddings.unflatten(0, shape))
    ).unflatten(0, shape)
    return (slope.squeeze(1) if shape[1] == 1 else slope.mean(dim=1)).contiguous()


def _chosen(name: str, words: Sequence[str]) -> tuple[str, ...]:
    known = get_args(Focus)
    given = [words] if isinstance(words, str) else list(words)
    if len(set(given)) != len(given) or not set(given) <= set(known):
        raise SettingError(name, given, f"some of {', '.join(known)}, each once; [] for none")
    return tuple(word for word in known if word in given)
