"""Named preparations are those their models were trained with."""

from __future__ import annotations

import pytest

from skerry.errors import ConfigError
from skerry.models.presets import preset, presets, resized


def test_the_default_of_imagenet_is_torchvisions() -> None:
    found = preset("imagenet-224")
    assert (found.size, found.crop, found.resample, found.crop_fraction) == (
        224,
        "center",
        "bilinear",
        0.875,
    )
    assert found.mean == pytest.approx([255 * part for part in (0.485, 0.456, 0.406)])
    assert found.std == pytest.approx([255 * part for part in (0.229, 0.224, 0.225)])


def test_the_guides_preset_stretches_with_lanczos() -> None:
    found = preset("imagenet-224-stretch-lanczos")
    assert (found.crop, found.resample, found.crop_fraction) == ("stretch", "lanczos", 1.0)


def test_every_combination_of_crop_and_filter_has_a_name() -> None:
    for crop in ("crop", "stretch"):
        for resample in ("bilinear", "bicubic", "lanczos"):
            found = preset(f"imagenet-224-{crop}-{resample}")
            assert (found.crop == "stretch", found.resample) == (crop == "stretch", resample)


@pytest.mark.parametrize(("number", "size"), [(0, 224), (1, 240), (2, 260)])
def test_efficientnet_lite_is_not_prepared_as_imagenet(number: int, size: int) -> None:
    found = preset(f"efficientnet-lite{number}")
    assert (found.size, found.resample, found.crop) == (size, "bicubic", "center")
    assert found.crop_fraction == size / (size + 32)
    assert set(found.mean) == {127.0}
    assert set(found.std) == {128.0}


def test_an_unknown_preset_names_the_nearest_and_all() -> None:
    with pytest.raises(ConfigError, match="imagnet-224-strech-lanczos") as caught:
        preset("imagnet-224-strech-lanczos")
    assert "Did you mean 'imagenet-224-stretch-lanczos'?" in caught.value.remedy
    assert all(name in caught.value.remedy for name in presets())


def test_another_size_changes_nothing_else() -> None:
    found = resized(preset("imagenet-224"), 288)
    assert found.size == 288
    assert resized(found, 224) == preset("imagenet-224")
