"""Crops on disk: order, independence, nothing left over, and a full disk."""

from pathlib import Path

import pytest
import torch

from cloakbench.datasets.crop_buffer import Spool
from cloakbench.datasets.photos import DatasetError


def crops(count: int) -> torch.Tensor:
    shape = (count, 3, 112, 112)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("somewhere", [True, False])
def test_crops_come_back_in_any_order_and_outlive_the_spool(tmp_path: Path, somewhere: bool):
    spool = Spool(tmp_path if somewhere else None)
    numbers = [spool.append(crop) for crop in crops(5)]
    found = spool.gather([3, 0])
    numbers.append(spool.append(crops(6)[5]))
    later = spool.gather(numbers)
    spool.close()
    assert torch.equal(found, crops(5)[[3, 0]])
    assert torch.equal(later, crops(6))
    assert spool.gather([]).shape == (0, 3, 112, 112)
    found[0] = 0  # a mapping of its own
    assert torch.equal(later[3], crops(5)[3])
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_full_disk_is_one_line_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: Path("/dev/full").open("r+b"))  # noqa: SIM115
    spool = Spool(tmp_path)
    with pytest.raises(DatasetError, match=r"cannot keep crops in .*No space left.* set dataset.cache"):
        for crop in crops(3):
            spool.append(crop)
        spool.gather([0])
    spool.close()
