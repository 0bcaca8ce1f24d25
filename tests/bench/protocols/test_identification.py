"""P1 and P2 against loops that follow their definitions word by word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.protocols.identification.search import search
from cloakbench.bench.protocols.recognition.responses import Mates, Responses

KS = (1, 2, 5)


def responses(seed: int, sizes: list[int], gallery: int, dimension: int = 4, noise: float = 0.7) -> Responses:
    """People with the given numbers of photos, in mixed order; protection moves every photo at random."""
    draw = torch.Generator().manual_seed(seed)
    identity = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    identity = identity[torch.randperm(len(identity), generator=draw)]
    centres = torch.randn(len(sizes), dimension, generator=draw)

    def unit(points: Tensor) -> Tensor:
        return F.normalize(points + noise * torch.randn(points.shape, generator=draw), dim=1)

    clean = unit(centres[identity])
    protected = unit(clean)
    distractors = F.normalize(torch.randn(gallery, dimension, generator=draw), dim=1)
    return Responses(protected, clean, identity, [f"photo{i}" for i in range(len(identity))], distractors)


def brute_force(r: Responses, k: int) -> dict[str, tuple[int, int]]:
    """(misses, trials) of every metric at depth k, by sorted galleries, one pair at a time."""
    assert r.gallery is not None
    counts = {name: [0, 0] for name in ("p1", "p1_given_clean", "p2", "p2_given_clean")}

    def hit(probe: Tensor, targets: list[int]) -> bool:
        """Whether a target is among the best k of targets and distractors, targets first at equal scores."""
        entries = [(-float(probe.double() @ r.clean[j].double()), 0) for j in targets]
        entries += [(-float(probe.double() @ d.double()), 1) for d in r.gallery]
        return any(kind == 0 for _, kind in sorted(entries)[:k])

    for i in range(len(r.identity)):
        mates = [j for j in range(len(r.identity)) if j != i and r.identity[j] == r.identity[i]]
        cases = [("p1", [j]) for j in mates] + ([("p2", mates)] if mates else [])
        for rule, targets in cases:
            missed = not hit(r.protected[i], targets)
            counts[rule][0] += missed
            counts[rule][1] += 1
            if hit(r.clean[i], targets):
                counts[f"{rule}_given_clean"][0] += missed
                counts[f"{rule}_given_clean"][1] += 1
    return {name: (misses, trials) for name, (misses, trials) in counts.items()}


def measured(r: Responses, ks: tuple[int, ...] = KS) -> pd.DataFrame:
    protocol = Identification(ks)
    return protocol.measurements(protocol.records(r), resamples=20, seed=0).set_index("metric")


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    gallery=st.integers(5, 25),
)
def test_rates_follow_the_definitions(seed: int, sizes: list[int], gallery: int) -> None:
    r = responses(seed, sizes, gallery)
    table = measured(r)
    for k in KS:
        for name, (misses, trials) in brute_force(r, k).items():
            rule, _, given_clean = name.partition("_")
            row = table.loc[f"psr_{rule}_top{k}" + ("_given_clean" if given_clean else "")]
            assert row["n"] == trials
            if trials:
                assert row["value"] == pytest.approx(misses / trials)
                assert row["low"] <= row["value"] <= row["high"]
            else:
                assert np.isnan(row["value"])
                assert row["status"] == "unavailable"


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), people=st.integers(2, 5), photos=st.integers(2, 6))
def test_the_gallery_rule_is_never_easier_for_the_defender(seed: int, people: int, photos: int) -> None:
    table = measured(responses(seed, [photos] * people, gallery=30))
    for k in KS:
        assert table.loc[f"psr_p2_top{k}", "value"] <= table.loc[f"psr_p1_top{k}", "value"] + 1e-12


@pytest.mark.parametrize("n", [1, 2, 5])
def test_walking_the_ranked_gallery_as_published_code_does_equals_p1(n: int) -> None:
    """P2c: walk n + m - 2 entries, stop at the n-th stranger, score mates met / (m - 1), here with m = 5."""
    r = responses(7, [5] * 6, gallery=40)
    assert r.gallery is not None
    scores = []
    for i in range(len(r.identity)):
        mates = [j for j in range(len(r.identity)) if j != i and r.identity[j] == r.identity[i]]
        everyone = torch.cat([r.clean[mates], r.gallery]).double() @ r.protected[i].double()
        met = strangers = 0
        for place in everyone.argsort(descending=True)[: n + 3].tolist():
            if place >= len(mates):
                strangers += 1
                if strangers == n:
                    break
            else:
                met += 1
        scores.append(met / 4)
    assert measured(r).loc[f"psr_p1_top{n}", "value"] == pytest.approx(1 - np.mean(scores))


def test_a_zero_mask_reproduces_the_clean_row() -> None:
    """O-8: every pair that the clean photo hits is hit, and ranks are those of the clean photo."""
    r = responses(1, [4] * 5, gallery=30)
    protocol = Identification(KS)
    records = protocol.records(replace(r, protected=r.clean.clone()))
    assert (records["p2_rank"] == records["p2_clean_rank"]).all()
    assert records["own_similarity"].to_numpy() == pytest.approx(1)
    table = protocol.measurements(records, 20, seed=0).set_index("metric")
    for k in KS:
        clean_pairs, pairs = records[f"p1_pairs_clean_top{k}"].sum(), records["p1_pairs"].sum()
        assert 0 < clean_pairs < pairs
        assert table.loc[f"psr_p1_top{k}", "value"] == pytest.approx(1 - clean_pairs / pairs)
        assert table.loc[f"psr_p1_top{k}_given_clean", "value"] == 0
        assert table.loc[f"psr_p1_top{k}_given_clean", "high"] > 0


def test_two_people_by_hand() -> None:
    """Anna's protected photo looks like the distractor, so it misses; Ben's does not, so it hits."""
    x, y, z = torch.eye(3)
    clean = torch.stack([x, x, y, y])
    r = Responses(torch.stack([z, x, y, y]), clean, torch.tensor([0, 0, 1, 1]), ["a1", "a2", "b1", "b2"], z[None])
    records = Identification([1]).records(r)
    assert records["p1_misses_top1"].tolist() == [1, 0, 0, 0]
    assert records["p2_rank"].tolist() == [1, 0, 0, 0]
    assert records["best_distractor_similarity"].tolist() == [1, 0, 0, 0]
    assert records["best_mate_similarity"].tolist() == [0, 1, 1, 1]
    row = measured(r, (1,)).loc["psr_p1_top1"]
    assert (row["value"], row["n"], row["n_identities"]) == (0.25, 4, 2)


def test_ties_go_to_the_attacker_even_in_high_dimension() -> None:
    """A hundred copies of the mate in the gallery are not strictly above it, whatever the order of summation."""
    r = responses(3, [2], gallery=1, dimension=512)
    records = Identification([1]).records(replace(r, gallery=r.clean[[1]].repeat(100, 1)))
    assert records["p2_rank"].tolist()[0] == 0
    assert records["best_mate_similarity"][0] == records["best_distractor_similarity"][0]


@pytest.mark.parametrize(("probe_chunk", "gallery_chunk"), [(1, 1), (3, 7), (512, 8192)])
def test_chunks_do_not_matter(probe_chunk: int, gallery_chunk: int) -> None:
    r = responses(4, [3, 1, 4, 2], gallery=50, dimension=64)
    assert r.gallery is not None
    mates = Mates.of(r.identity, torch.ones(10, dtype=torch.bool))
    whole = search(r.protected, r.clean, mates, r.gallery)
    parts = search(r.protected, r.clean, mates, r.gallery, probe_chunk=probe_chunk, gallery_chunk=gallery_chunk)
    for a, b in zip(whole, parts, strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num())


def test_the_order_of_probes_does_not_matter() -> None:
    r = responses(5, [3, 2, 4], gallery=20)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    shuffled = Responses(
        r.protected[order], r.clean[order], r.identity[order], [r.image_id[i] for i in order.tolist()], r.gallery
    )
    protocol = Identification(KS)
    straight, mixed = protocol.records(r), protocol.records(shuffled)
    pd.testing.assert_frame_equal(
        straight.sort_values("image_id", ignore_index=True), mixed.sort_values("image_id", ignore_index=True)
    )
    pd.testing.assert_frame_equal(protocol.measurements(straight, 50, 0), protocol.measurements(mixed, 50, 0))


def test_a_person_with_one_photo_is_in_no_denominator() -> None:
    records = Identification(KS).records(responses(6, [1, 3], gallery=10))
    lonely = records[records["p1_pairs"] == 0]
    assert len(lonely) == 1
    assert lonely["status"].tolist() == ["ok"]
    assert lonely[["p2_rank", "p2_clean_rank", "best_mate_similarity"]].isna().all(axis=None)
    assert measured(responses(6, [1, 3], gallery=10)).loc["psr_p2_top1", ["n", "n_identities"]].tolist() == [3, 1]


def test_a_photo_without_an_answer_is_a_failure_and_no_number() -> None:
    r = responses(8, [3, 3], gallery=10)
    r.protected[0] = torch.nan
    r.clean[4] = 0
    records = Identification(KS).records(r)
    assert records["status"].tolist() == ["target_failed", "ok", "ok", "ok", "target_failed", "ok"]
    numbers = records.drop(columns=["image_id", "identity", "status", "note", "gallery_size"])
    assert numbers.loc[[0, 4]].isna().all(axis=None)
    assert numbers.loc[[1, 2, 3, 5]].notna().all(axis=None)
    # Photo 0 is still a clean mate; photo 4 has no clean embedding, so nobody can be matched with it.
    for row in (1, 2, 3, 5):
        mates = [j for j in range(6) if j not in (row, 4) and r.identity[j] == r.identity[row]]
        assert records["p1_pairs"][row] == len(mates)
    row = measured(r).loc["psr_p2_top1"]
    assert (row["n"], row["n_failed"], row["note"]) == (4, 2, "2 of 6 photos failed")


def test_a_photo_the_method_failed_on_keeps_its_status_and_stays_a_mate() -> None:
    r = replace(responses(9, [2], gallery=10), status=["method_failed", "ok"])
    records = Identification(KS).records(r)
    assert records["status"].tolist() == ["method_failed", "ok"]
    assert records["p1_pairs"].tolist() == [pd.NA, 1]


@pytest.mark.parametrize("broken", ["protected", "gallery"])
def test_a_target_that_answers_nan_gives_gaps_with_the_reason(broken: str) -> None:
    r = responses(10, [2, 2], gallery=12)
    embeddings = getattr(r, broken)
    embeddings[:] = torch.nan
    table = measured(r)
    assert table[["value", "low", "high"]].isna().all(axis=None)
    assert (table["status"] == "target_failed").all()
    assert (table["n"] == 0).all()
    assert (table["n_failed"] == 4).all()
    assert table["note"].str.contains("12 of 12 gallery photos" if broken == "gallery" else "4 of 4").all()


def test_one_distractor_without_an_embedding_spoils_every_rank() -> None:
    r = responses(10, [2, 2], gallery=12)
    assert r.gallery is not None
    r.gallery[3] = torch.inf
    assert measured(r)["value"].isna().all()


def test_a_gallery_smaller_than_k_is_a_gap() -> None:
    table = measured(responses(11, [3, 3], gallery=4))
    assert table.loc["psr_p1_top5", "note"] == "the gallery has 4 distractors, Top-5 needs 5"
    assert np.isnan(table.loc["psr_p1_top5", "value"])
    assert table.loc["psr_p1_top2", "status"] == "ok"
    assert measured(responses(11, [3, 3], gallery=0))["value"].isna().all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4), given=st.integers(0, 4))
def test_all_mates_are_the_other_probes_and_the_references(seed: int, sizes: list[int], given: int) -> None:
    """P2 against sorted galleries that hold every clean photo of the person but the probe's own; P1 stays as it is."""
    r = responses(seed, sizes, 12)
    draw = torch.Generator().manual_seed(seed + 1)
    people = torch.arange(len(sizes)).repeat_interleave(given)
    photos = F.normalize(torch.randn(len(people), r.clean.shape[1], generator=draw), dim=1)
    stranger = torch.cat([people, torch.tensor([-1])])
    all_photos = replace(r, references=torch.cat([photos, photos.new_ones(1, 4) / 2]), reference_identity=stranger)
    protocol = Identification(KS, "all")
    records = protocol.records(all_photos)
    table = protocol.measurements(records, resamples=20, seed=0).set_index("metric")
    plain = measured(r)
    assert r.gallery is not None
    for k in KS:
        misses = trials = 0
        for i, person in enumerate(r.identity.tolist()):
            mates = [r.clean[j] for j in range(len(r.identity)) if j != i and r.identity[j] == person]
            mates += list(photos[people == person])
            if mates:
                best = max(float(r.protected[i].double() @ mate.double()) for mate in mates)
                above = sum(float(r.protected[i].double() @ one.double()) > best for one in r.gallery)
                misses, trials = misses + (above >= k), trials + 1
        row = table.loc[f"psr_p2_top{k}"]
        assert row["n"] == trials
        if trials:
            assert row["value"] == pytest.approx(misses / trials)
        assert table.loc[f"psr_p1_top{k}", "n"] == plain.loc[f"psr_p1_top{k}", "n"]


def test_references_in_the_gallery_never_help_the_person() -> None:
    r = responses(5, [3, 3, 3], 20)
    more = replace(r, references=r.clean.clone(), reference_identity=r.identity.clone())
    few, many = Identification(KS).records(r), Identification(KS, "all").records(more)
    assert (many["p2_rank"] <= few["p2_rank"]).all()
    assert many["p1_misses_top1"].tolist() == few["p1_misses_top1"].tolist()
    assert Identification(KS, "all").needs == {"distractor", "reference"}
    assert Identification(KS, "all").metrics[-1].denominator.count("references among them") == 1


def test_every_metric_has_a_card_and_columns_are_in_order() -> None:
    protocol = Identification()
    table = protocol.measurements(protocol.records(responses(12, [3, 3], 20)), 10, 0)
    assert table["metric"].tolist() == [metric.name for metric in protocol.metrics]
    [described] = [metric for metric in protocol.metrics if metric.name == "psr_p1_top5_given_clean"]
    assert described.denominator.endswith("that the clean photo hits at Top-5")
    assert len(table) == 12


def test_bad_input_is_named() -> None:
    r = responses(13, [2, 2], gallery=10)
    with pytest.raises(ValueError, match=r"ks is .*: it must be"):
        Identification([0, 1])
    with pytest.raises(ValueError, match="distractor role"):
        Identification().records(replace(r, gallery=None))
    with pytest.raises(ValueError, match="unit vectors"):
        Identification().records(replace(r, protected=2 * r.protected))
    with pytest.raises(ValueError, match="clean must be"):
        replace(r, clean=r.clean[:2])
    with pytest.raises(ValueError, match="gallery must be"):
        replace(r, gallery=torch.ones(3, 7))
    with pytest.raises(ValueError, match="image_id has 1 entries for 4 probes"):
        replace(r, image_id=["a"])
