"""Protocols, metrics and judges that cannot be: each is one line that says what to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.experiment.prepare import prepare

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
LOADER = "cloakbench.bench.engine.transforms.Unchanged"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["protocols.counting.needs=[train]"], "has no train faces, which counting needs"),
        (["protocols.counting.needs=[probes]"], "protocol counting needs probes faces, which is no role: roles are"),
        (["protocols.counting.clean=[train]"], "protocol counting asks for train faces, and data set synthetic"),
        (["+metric@metrics.a=own_similarity"], "metrics.a reads records of identification, which this experiment"),
        (
            ["+metric@metrics.a=own_similarity", "metrics.a.protocol=counting", "metrics.a.column=grey_levels"],
            "metric grey_levels of counting is declared twice: leave out protocols.counting or metrics.a",
        ),
        (
            ["+protocol@protocols.more=counting"],
            "metric grey_levels of counting is declared twice: leave out protocols.counting or protocols.more",
        ),
        (
            ["+image_metric@protocols.quality.image_metrics.again=ssim"],
            "metric ssim of quality is declared twice: give it another name in protocols.quality",
        ),
        ([f"+metrics.a._target_={LOADER}"], f"metrics.a: {LOADER} built a Unchanged, not a AddedMetric"),
        ([f"+protocols.a._target_={LOADER}"], f"protocols.a: {LOADER} built a Unchanged, not a Protocol"),
        (
            [f"+protocols.quality.image_metrics.a._target_={LOADER}"],
            f"protocols.quality.image_metrics.a: {LOADER} built a Unchanged, not an ImageMetric",
        ),
        (
            ["protocols.counting._target_=counting.Misjudged"],
            "protocol counting asks a str: its judges() must",
        ),
        (
            ["protocols.counting._target_=counting.Doubled"],
            "protocol counting asks two judges called clerk: give each a name of its own",
        ),
        ([f"+targets.a._target_={LOADER}"], f"model a: {LOADER} built a Unchanged, not a Recogniser"),
    ],
)
def test_what_cannot_be_is_one_line_before_any_work(words: list[str], said: str, faces_cache: Path) -> None:
    given = ["experiment=tiny_counting", f"paths.cache={faces_cache}", "~methods.keeps_key", *words]
    with pytest.raises((ConfigError, ValueError)) as refused:
        prepare(compose_config(given, config_dirs=[str(CONFIG_DIR)]))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_attacker_of_another_kind_is_told(faces_cache: Path) -> None:
    config = compose_config(["experiment=tiny_poisoning", f"paths.cache={faces_cache}"], config_dirs=[str(CONFIG_DIR)])
    config.protocols.poisoning.attackers.small = {"_target_": LOADER}
    with pytest.raises(ConfigError, match=rf"attackers.small: {LOADER} built a Unchanged, not an Attacker$"):
        prepare(config)
