"""Names and orders."""

from __future__ import annotations

from cloakbench.bench.report.labels import method_order, split_transform, strength_name, transform_families


def test_methods_come_in_the_order_of_the_tables_and_unknown_ones_last():
    assert method_order(["zeta", "pgd", "identity", "alpha", "fgsm"]) == ["identity", "fgsm", "pgd", "alpha", "zeta"]


def test_transforms_run_from_mild_to_strong():
    families = transform_families(["none", "jpeg_50", "jpeg_90", "gaussian_blur_2", "gaussian_blur_0.5", "resize_0.5"])
    assert families == {
        "jpeg": ["none", "jpeg_90", "jpeg_50"],
        "gaussian_blur": ["none", "gaussian_blur_0.5", "gaussian_blur_2"],
        "resize": ["none", "resize_0.5"],
    }


def test_two_sided_transforms_have_the_untransformed_photo_in_the_middle():
    assert transform_families(["brightness_0.8", "brightness_1.2"])["brightness"][1] == "none"
    assert transform_families(["contrast_-20", "contrast_+20"])["contrast"] == ["contrast_-20", "none", "contrast_+20"]


def test_transform_without_a_strength_is_its_own_family():
    assert transform_families(["none", "platform"]) == {"platform": ["none", "platform"]}
    assert split_transform("platform") is None
    assert strength_name("platform") == "platform"
    assert strength_name("jpeg_75") == "75"
