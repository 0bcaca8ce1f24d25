"""EOT-OPOM: one mask per person for many recognisers at once, each shown random views of the masked photos."""

from __future__ import annotations

from typing import ClassVar

from cloakbench.bench.core.ranges import whole
from cloakbench.methods.opom import OPOM
from cloakbench.methods.parts.opom_objectives import MaskObjective
from cloakbench.methods.parts.transfer.ensemble import Transfer


class EOTOPOM(OPOM):
    """OPOM's loop with gradients that hold for recognisers nobody has.

    Every step shows each surrogate another random view of every masked photo, divides the gradients that come back by
    their mean size for each photo, adds them up, smooths the sum, and moves the person's mask along the sign of its
    mean over photos. Photos leave the sum of their own clean embedding and the mean of the person's.

    Ours: Zhong and Deng's OPOM (TPAMI 2022, see `cloakbench.methods.opom`) with known parts, named by their papers in
    `cloakbench.methods.parts.transfer`. No paper has it in this form. Its settings were fixed before they were measured
    with this code; ``docs/transfer.md`` has what is tried.

    Passes for each reference photo: T forward and T backward for each surrogate, and one forward.

    Args:
        objective, epsilon_255, step_255, steps: as in `cloakbench.methods.opom.OPOM`.
        least_surrogates: an ensemble has at least that many.
        transfer: views, filter and ensemble; None leaves all three out.

    Raises:
        SettingError: a parameter is out of range.
    """

    name: ClassVar[str] = "eot_opom"
    paper: ClassVar[str] = "none: CloakBench's own combination of OPOM, EOT, TI and normalised ensembles"
    official_settings: ClassVar[str] = (
        "ours: epsilon 8, 32 steps of 1, views (scale .85 to 1.1, 8 degrees, 5 %, mirror), Gaussian of 1 px"
    )
    deviations: ClassVar[str] = ""

    def __init__(
        self,
        objective: MaskObjective,
        epsilon_255: float = 8,
        step_255: float = 1,
        steps: int = 32,
        least_surrogates: int = 2,
        transfer: Transfer | None = None,
    ) -> None:
        super().__init__(objective, epsilon_255, step_255, steps, transfer=transfer)
        self.least_surrogates = whole("least_surrogates", least_surrogates)
