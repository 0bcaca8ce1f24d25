"""Gender-AN: the generator of PrivacyNet for gender alone."""

from __future__ import annotations

from typing import ClassVar

from cloakbench.methods.privacynet import PrivacyNet


class GenderAN(PrivacyNet):
    """A photo, translated to the other gender, with the losses of `PrivacyNet` and one attribute.

    The paper names the same four: manipulation of the attribute, face matcher, adversarial, reconstruction.

    Paper: Tang, Zhou, Jiang, Chen and Liu, "Gender-Adversarial Networks for Face Privacy Preserving", IEEE Internet of
    Things Journal 9(18), 2022.
    Official settings: none were at hand.
    Deviations: networks, weights and schedule are those of `PrivacyNet`.

    Args:
        task, matcher, first, width, blocks, discriminator_width, shrink, epochs, batch, learning_rate,
            critic_steps, attribute_weight, cycle_weight, penalty_weight, matcher_weight: see `PrivacyNet`.

    Raises:
        ValueError: a parameter is out of range.
        AttributeTaskError: the task has not so many attributes.
    """

    name: ClassVar[str] = "gender_an"
    paper: ClassVar[str] = "Tang et al., Gender-Adversarial Networks for Face Privacy Preserving, IoT Journal 2022"
    official_settings: ClassVar[str] = "none at hand"
    deviations: ClassVar[str] = "PrivacyNet's networks, weights and schedule with one attribute"
