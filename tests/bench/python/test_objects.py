"""Parts without a YAML: what somebody made in Python is evaluated under a key that is true of it, or refused."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from one_of_each_class import one_of_each_class
from own_parts import Brighter, Embedder, Forgetful, own_recogniser
from own_views import Planted, UsesViews

import cloakbench
from cloakbench.bench.config.compose import group_options
from cloakbench.bench.engine.transforms import Jpeg
from cloakbench.bench.experiment.parts import build_parts
from cloakbench.bench.plan.plan import make_protector
from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.python.blocks import part_block, recogniser_block
from cloakbench.bench.python.composing import compose_experiment
from cloakbench.bench.python.object_digest import object_digest
from cloakbench.bench.python.spelling import in_python

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"


def units(found: cloakbench.Results) -> set[str]:
    """Keys of the protected photos in the store of a run."""
    assert found.folder is not None
    return {path.name for path in (found.folder.parents[1] / "store" / "protected").rglob("*.*")}


def values(found: cloakbench.Results, method: str, metric: str = "ssim") -> list[float]:
    rows = found.measurements
    return list(rows[(rows["method"] == method) & (rows["metric"] == metric)]["value"])


@pytest.mark.slow
def test_a_method_of_ones_own_runs_at_every_budget_and_shares_the_key_of_its_block(evaluate: Any) -> None:
    found = evaluate({"mine": Brighter(first_row=1)}, targets="tiny2", budgets_255=[4, 8])
    rows = found.measurements
    assert set(rows[rows["method"] == "mine"]["epsilon_255"]) == {4, 8}
    small, large = values(found, "mine")
    assert large < small < 1
    first = units(found)
    again = evaluate(
        {"mine": {"_target_": Brighter, "first_row": 1, "epsilon_255": 8}}, targets="tiny2", budgets_255=[4, 8]
    )
    assert units(again) == first
    assert again.folder == found.folder
    other = evaluate({"mine": Brighter(first_row=0)}, targets="tiny2", budgets_255=[4, 8])
    assert units(other) > first


@pytest.mark.slow
def test_a_module_that_is_edited_and_reloaded_gives_new_keys(
    evaluate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook: one process, one class, two versions of its code."""
    source = (
        "from own_parts import Brighter\n\n\nclass Edited(Brighter):\n"
        "    def perturb(self, batch, fitted, context):\n        return batch.images * 0.9\n"
    )
    (tmp_path / "edited.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.import_module("edited")
    first = values(evaluate({"mine": module.Edited()}, targets="tiny2"), "mine")
    (tmp_path / "edited.py").write_text(source.replace("0.9", "0.5"))
    importlib.reload(module)
    second = values(evaluate({"mine": module.Edited()}, targets="tiny2"), "mine")
    assert first != second


def test_the_settings_of_an_object_are_the_fewest_that_build_an_equal_one() -> None:
    target = "own_parts.Brighter"
    assert part_block(Brighter(), "methods.mine") == {"_target_": target, "epsilon_255": 8}
    assert part_block(Brighter(4), "methods.mine") == {"_target_": target, "epsilon_255": 4}  # the step follows
    assert part_block(Brighter(8, 1, 2), "m") == {"_target_": target, "epsilon_255": 8, "first_row": 1, "step_255": 2}


UNREADABLE = {
    "chhabra",
    "em_class",
    "em_max",
    "em_sample",
    "rem",
    "rem_full",
    "lowkey",
    "gender_an",
    "lowkey_lpips",
    "lowkey_m",
    "lowkey_matched",
    "precomputed",
    "privacynet",
}
"""Methods that are made of parts which do not keep what they were made of: a mapping, or their name, is needed."""


@pytest.mark.parametrize("name", one_of_each_class(sorted(set(group_options("method")) - UNREADABLE)))
def test_methods_can_be_read_back_without_their_names(name: str) -> None:
    named = cloakbench.load_method(name)
    given = {key: value for key, value in vars(named).items() if not key.startswith("_cloakbench")}
    made = type(named).__new__(type(named))
    vars(made).update(given)
    block = part_block(made, "methods.mine")
    assert set(block) <= set(part_block(named, "methods.mine"))
    assert object_digest(vars(make_protector(block, "mine")), "it") == object_digest(given, "it")


def test_parts_in_parts_are_blocks_in_blocks() -> None:
    named = cloakbench.load_method("opom_convex_hull", steps=3)
    made = type(named)(vars(named)["objective"], steps=3)
    block = part_block(made, "methods.mine")
    assert block["steps"] == 3
    assert block["objective"]["_target_"].startswith("cloakbench.methods.parts.opom_objectives.")


def test_a_named_method_that_was_changed_afterwards_is_not_taken_for_its_name() -> None:
    method: Any = cloakbench.load_method("pgd")
    assert part_block(method, "methods.pgd")["_target_"] == "cloakbench.methods.pgd.PGD"
    method.steps = 3
    method.step_255 = 1.0
    assert part_block(method, "methods.pgd") == {
        "_target_": "cloakbench.methods.pgd.PGD",
        "epsilon_255": 8,
        "steps": 3,
        "step_255": 1.0,
    }


@pytest.mark.parametrize("workers", [0, 1])
def test_a_network_of_ones_own_judges_and_is_attacked(evaluate: Any, workers: int) -> None:
    own = own_recogniser()
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    found = evaluate("fgsm", own, [own, own_recogniser(6, name="other")], budgets_255=[8], workers=workers)
    rows = found.measurements
    attacked = rows[(rows["method"] == "fgsm") & (rows["metric"] == "psr_p2_top1")].set_index("judge")
    assert attacked.loc["own", "white_box"] and not attacked.loc["other", "white_box"]
    assert (attacked["status"] == "ok").all() and not found.problems
    assert own.card.weights_sha256 == ""
    assert all(torch.equal(tensor, before[name]) for name, tensor in own.state_dict().items())
    text = (found.folder / "config.yaml").read_text()
    assert "handed over: cloakbench.models.base.Recogniser" in text


def test_weights_settings_and_inputs_of_a_network_are_in_its_key() -> None:
    def digest(recogniser: cloakbench.Recogniser) -> str:
        return recogniser_block(recogniser, "targets.own")["part"].digest

    same = digest(own_recogniser(name="another_name"))
    assert digest(own_recogniser()) == same
    assert digest(own_recogniser(seed=6)) != same
    assert digest(own_recogniser(scale=2.0)) != same
    wider = cloakbench.Recogniser(Embedder(5), cloakbench.InputSpec(std=0.25), own_recogniser().card)
    assert digest(wider) != same
    trained = own_recogniser()
    with torch.no_grad():
        next(trained.parameters())[0] += 1
    assert digest(trained) != same


def test_a_named_network_that_was_trained_on_is_known_by_what_it_is_now() -> None:
    named = cloakbench.load_recogniser("tiny1", config_dir=CONFIG_DIR)
    assert recogniser_block(named, "targets.one")["_target_"] == "cloakbench_test_plugins.tiny"
    with torch.no_grad():
        next(named.parameters())[0] += 1
    assert "part" in recogniser_block(named, "targets.one")


@pytest.mark.slow
def test_a_digest_is_the_same_in_every_process() -> None:
    """Sets are walked in another order in each."""
    held = "{'words': {'one', 'two', 'three', 'four'}, 'pair': (1, 2.0), 'own': own_recogniser().network}"
    code = "from own_parts import *; from cloakbench.bench.python.object_digest import object_digest as digest;"
    script = f"{code} print(digest({held}, 'it'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    value = {"words": {"four", "two", "three", "one"}, "pair": (1, 2.0), "own": own_recogniser().network}
    assert done.stdout.strip() == object_digest(value, "it")
    assert object_digest({**value, "pair": (1, 2)}, "it") != object_digest(value, "it")


def faces_of(people: int, photos: int, seed: int, role: str) -> cloakbench.FaceSet:
    drawn = np.random.default_rng(seed).integers(0, 256, (people * photos, 3, 112, 112), dtype=np.uint8)
    return cloakbench.FaceSet(
        torch.from_numpy(drawn),
        tuple(f"{role}{number}" for number in range(people * photos)),
        tuple(
            f"{'p' if role in ('probe', 'reference') else role}{number // photos}" for number in range(people * photos)
        ),
    )


def test_faces_transforms_and_protocols_in_memory_are_as_good_as_named_ones(evaluate: Any) -> None:
    faces = {
        "reference": faces_of(3, 2, 0, "reference"),
        "probe": faces_of(3, 2, 1, "probe"),
        "distractor": faces_of(5, 1, 2, "distractor"),
        "impostor": faces_of(6, 2, 3, "impostor"),
    }
    asked = {"protocols": Identification(ks=[1]), "transforms": Jpeg(50)}
    found = evaluate("random_sign", targets="tiny2", faces=faces, **asked)
    assert found.dataset == "given_faces 1" and not found.problems
    rates = found.measurements[found.measurements["metric"] == "psr_p2_top1"]
    assert (rates["n"] == 6).all() and set(rates["condition"]) == {"none", "jpeg_50"}
    assert set(found.measurements["protocol"]) == {"identification"}
    again = evaluate("random_sign", targets="tiny2", faces={**faces, "probe": faces_of(3, 2, 9, "probe")}, **asked)
    assert again.folder != found.folder


def test_faces_in_a_folder_are_a_data_set(evaluate: Any, tmp_path: Path) -> None:
    from cloakbench.bench.python.pictures import as_pil

    for person in range(5):
        (tmp_path / "people" / f"person{person}").mkdir(parents=True)
        for number, photo in enumerate(faces_of(1, 4 if person < 3 else 1, person, "probe").images):
            as_pil(photo).save(tmp_path / "people" / f"person{person}" / f"{number}.png")
    found = cloakbench.evaluate(
        "random_sign",
        targets="tiny2",
        faces=tmp_path / "people",
        protocols=["identification", "quality"],
        settings={"dataset.aligned": True, "dataset.probes_per_identity": 2, "statistics.resamples": 50},
        results=tmp_path / "results",
        workers=0,
        config_dir=CONFIG_DIR,
    )
    assert found.measurements["n"].max() == 6
    assert set(found.measurements["protocol"]) == {"identification", "quality"}


@pytest.mark.slow
def test_lists_replace_those_of_a_preset_with_all_that_it_says_of_them() -> None:
    """The preset limits costly methods to some surrogates, of which none is left."""
    lists = {"methods": ["pgd", "tip_im"], "surrogates": "tiny1", "targets": "tiny2", "protocols": "identification"}
    config = compose_experiment(lists, None, "bench", {"runtime.workers": 0}, [str(CONFIG_DIR)])
    cells = build_parts(config).cells
    assert {cell.method for cell in cells} == {"identity", "random_sign", "pgd", "tip_im"}
    assert {cell.surrogate for cell in cells if cell.method in ("pgd", "tip_im")} == {"tiny1"}
    assert [cell.budget.epsilon_255 for cell in cells if cell.method == "tip_im"] == [8]  # a limit that still fits
    with pytest.raises(cloakbench.ConfigError, match=r"plan.limits names apf, which this experiment does not have"):
        build_parts(compose_experiment(lists, None, "bench", {"plan.limits.apf.people": 3}, [str(CONFIG_DIR)]))


def test_what_no_key_can_be_true_of_is_refused_in_one_line(evaluate: Any) -> None:
    class Local(Brighter):
        """Lies in no module."""

    own = own_recogniser()
    own.network.extra = lambda images: images  # type: ignore[assignment]
    changed = Brighter()
    changed.budget = cloakbench.Budget("linf", 100)
    cases = [
        ({"mine": Local()}, "methods.mine: .*Local cannot be imported .* define it at the top of a module file"),
        ({"mine": Forgetful(3)}, "methods.mine: Forgetful does not keep the argument 'rows' .* store it as self.rows"),
        ({"mine": changed}, "methods.mine: a Brighter made of the settings .* differs in budget: keep each argument"),
        (
            {"mine": Brighter},
            "methods.mine is the class Brighter: give the name of a method, a Protector, or a mapping",
        ),
        ({"mine": 3}, "methods.mine is a int: give the name of a method, a Protector, or a mapping"),
        ([Brighter(), Brighter()], "methods: two are called brighter: give a mapping"),
    ]
    for methods, said in cases:
        with pytest.raises(cloakbench.ConfigError, match=said) as problem:
            evaluate(methods, targets="tiny2")
        assert "\n" not in str(problem.value)
    with pytest.raises(cloakbench.ConfigError, match=r"targets.own.*<lambda> cannot be imported"):
        evaluate("random_sign", targets=own)
    with pytest.raises(
        cloakbench.ConfigError, match=r"targets.mine is a Embedder: give the name of a model, a Recogniser"
    ):
        evaluate("random_sign", targets={"mine": Embedder(0)})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"methods": "pgdd", "targets": "tiny2"}, "there is no method called 'pgdd'.*pgd"),
        ({"methods": "pgd", "targets": "tiny9"}, "there is no model called 'tiny9'.*tiny2"),
        ({"methods": "pgd", "targets": "tiny2", "faces": "lwf"}, "there is no dataset called 'lwf'.*lfw"),
        ({"methods": "pgd", "targets": "tiny2", "faces": 3}, "faces is a int: give a name, a folder"),
        (
            {"methods": "pgd", "targets": "tiny2", "faces": {"proben": 3}},
            r"faces\['proben'\] is a int: it must be a FaceSet",
        ),
        ({"methods": "pgd", "targets": "tiny2", "protocols": "quallity"}, "there is no protocol called 'quallity'"),
        ({"methods": "pgd", "targets": "tiny2", "transforms": "jpg"}, "there is no transform called 'jpg'.*jpeg"),
        ({"methods": "pgd", "targets": "tiny2", "experiment": "tinny"}, "there is no experiment called 'tinny'.*tiny"),
        ({"methods": "pgd", "targets": "tiny2"}, "pgd needs a surrogate: add one with surrogates=NAME"),
        ({"methods": "pgd", "targets": "tiny2", "surrogates": "tiny1", "budgets_255": [400]}, "budgets_255 is"),
        ({"methods": "pgd", "targets": "tiny2", "surrogates": "tiny1", "device": "abacus"}, "abacus"),
        ({"methods": "pgd", "targets": "tiny2", "surrogates": "tiny1", "workers": -1}, "runtime.workers is -1"),
        ({"methods": "pgd", "targets": "tiny2", "settings": {"plan.chunk": 3}}, "there is no setting 'plan.chunk'"),
        ({"methods": "random_sign"}, "the experiment has no target: add one with targets=NAME"),
        (
            {"methods": "random_sign", "targets": "tiny2", "protocols": "quality"},
            "quality asks about what others publish.*with protocols=.NAME., NAME one of attributes, .*identification",
        ),
        ({"targets": "tiny2"}, "the experiment has no method: choose one with methods=NAME"),
    ],
)
def test_bad_input_is_one_line_that_says_what_there_is(evaluate: Any, call: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as problem:
        evaluate(**call)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("said", "spelled"),
    [
        ("dataset.root is not set: dataset.root=...", 'dataset.root is not set: settings={"dataset.root": ...}'),
        ("no faces: dataset.distractors=N, or leave", 'no faces: settings={"dataset.distractors": N}, or leave'),
        ("leave it out: '~protocols.verification'", "leave it out: protocols without verification"),
        ("plan.limits.pgd.epsilons_255 is [0]", "plan.limits.pgd.epsilons_255 is [0]"),
        ("see https://place.org/a.b=c?d.e=f", "see https://place.org/a.b=c?d.e=f"),
    ],
)
def test_what_is_said_of_a_command_line_is_said_of_a_call(said: str, spelled: str) -> None:
    assert in_python(said) == spelled


@pytest.mark.parametrize(
    ("load", "name", "settings", "said"),
    [
        (cloakbench.load_method, "pgdd", {}, "there is no method called 'pgdd'.*pgd"),
        (cloakbench.load_method, "pgd", {"step": 3}, "method has no setting 'step'; it has: .*steps"),
        (cloakbench.load_method, "pgd", {"steps": 0}, "method.steps is 0"),
        (cloakbench.load_recogniser, "cosface", {}, "there is no model called 'cosface'.*cosface_ir"),
        (cloakbench.load_recogniser, "cosface_ir", {"weight": 3}, "model has no setting 'weight'; it has"),
        (cloakbench.load_recogniser, "cosface_ir", {"device": "abacus"}, "abacus"),
    ],
)
def test_a_part_that_cannot_be_loaded_is_one_line(load: Any, name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as problem:
        load(name, **settings)
    assert "\n" not in str(problem.value)


@pytest.mark.slow
def test_a_generator_in_memory_shares_keys_with_the_one_of_its_name(evaluate: Any) -> None:
    def keys(generator: Any) -> set[str]:
        results = evaluate({"views": UsesViews()}, targets="tiny2", faces="synthetic", generator=generator)
        assert not results.problems
        assert results.folder is not None
        return {path.name for path in (results.folder.parents[1] / "store" / "views").rglob("*.safetensors")}

    named = keys("augment")
    assert len(named) == 3
    assert keys(cloakbench.load_generator("augment")) == named
    assert keys(cloakbench.load_generator("augment", crop=0.1)) > named
    mine = keys(Planted())
    assert keys(Planted()) == mine and keys(Planted(light=0.3)) > mine
