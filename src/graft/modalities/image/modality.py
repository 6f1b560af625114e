"""Images as a modality: the columns, features and checks of the manifest, computed by this package."""

from __future__ import annotations

import base64
import dataclasses
import io
import typing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from graft.core.code_version import decoders
from graft.core.errors import DataError
from graft.modalities.base import ColumnType, Feature, FileField, Modality, Statistic, column_feature
from graft.modalities.image.checks import CHECKS
from graft.modalities.image.conversion import cut_away, range_used
from graft.modalities.image.decode import decode, decode_fully, upright_size
from graft.modalities.image.preprocessing import ImagePreprocessor
from graft.modalities.image.signatures import SUFFIXES, UNREADABLE_SUFFIXES
from graft.modalities.image.stats import ImageSample, ImageStats, Tones, perceptual_hash, pixel_hash

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.core.settings import Params

_COLUMN_TYPES: dict[object, ColumnType] = {int: "int64", float: "float64", float | None: "float64", str: "string"}
_PREVIEW_SIDE, _TINY_SIDE = 144, 32
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_WHITE, _BLANK = 0.98, 0.01


def shorter_side(table: pd.DataFrame) -> pd.Series:
    """Pixels."""
    return table[["width", "height"]].min(axis=1)


def aspect_ratio(table: pd.DataFrame) -> pd.Series:
    """Width over height."""
    return table["width"] / table["height"]


class ImageModality(Modality):
    """See :class:`graft.modalities.base.Modality`."""

    name = "image"
    suffixes, unreadable_suffixes = SUFFIXES, UNREADABLE_SUFFIXES
    statistics: Mapping[str, ColumnType] = {
        column: _COLUMN_TYPES[kind] for column, kind in typing.get_type_hints(ImageStats).items()
    }
    fingerprint_column, near_key_column = "pixel_sha256", "phash"
    checks = CHECKS
    drift_features = (
        Feature("shorter side", ("width", "height"), shorter_side, "number", " px"),
        Feature("width over height", ("width", "height"), aspect_ratio, "number"),
        column_feature("bytes", "number", " bytes", "file size"),
        *(column_feature(column, "number") for column in ("brightness", "contrast", "sharpness")),
        column_feature("entropy", "number", " bits"),
        column_feature("label", "category", name="class"),
        *(column_feature(column, "category") for column in ("format", "mode")),
    )
    slice_features = (
        Feature("shorter side (px)", ("width", "height"), shorter_side, "number"),
        *(column_feature(column, "number") for column in ("brightness", "contrast", "sharpness")),
        column_feature("format", "category", name="file format"),
        column_feature("mode", "category", name="colour mode"),
    )
    request = FileField("image", "photo.jpg")
    request_features = (
        *(column_feature(column, "number") for column in ("brightness", "contrast")),
        Feature("shorter side", ("width", "height"), shorter_side, "number", " px"),
        Feature("width over height", ("width", "height"), aspect_ratio, "number"),
    )
    code = tuple(f"modalities/image/{module}.py" for module in ("colour", "decode", "signatures", "stats"))

    def decode(self, raw: bytes) -> ImageSample:
        """Every pixel, upright, in sRGB; images of more than 8 bits are scaled from their own range."""
        return ImageSample(decode_fully(raw))

    def stats(self, sample: ImageSample) -> Mapping[str, Statistic]:
        """The values of :class:`graft.modalities.image.stats.ImageStats`."""
        return dataclasses.asdict(sample.stats())

    def fingerprint(self, sample: ImageSample) -> str:
        """SHA-256 of the size and the RGB pixels, or of the numbers of an image of more than 8 bits."""
        decoded = sample.decoded
        return pixel_hash(decoded.image if decoded.numbers is None else decoded.numbers)

    def near_key(self, sample: ImageSample) -> bytes | None:
        """The perceptual hash, 256 bits."""
        return perceptual_hash(np.asarray(sample.grey), sample.tones.contrast)

    def preview(self, raw: bytes) -> str:
        """A thumbnail; the pixels of a tiny image are shown one by one."""
        try:
            image = decode(raw, least_side=_PREVIEW_SIDE, depth_range=None)
        except DataError:
            return ""
        kind = ' class="tiny"' if min(image.size) < _TINY_SIDE else ""
        image.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=80)
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        return f'<img src="data:image/jpeg;base64,{data}" alt="" loading="lazy"{kind}>'

    def check_columns(self, manifest: pd.DataFrame, params: Params) -> pd.DataFrame:
        """Added columns: short_side (pixels), white_on_white (transparent, and white where it is not), and as far as
        the settings ask cut_away (percent that the centre crop loses) and range_used (percent of the grey levels).
        """
        white = (manifest["brightness"] > _WHITE) & (manifest["contrast"] < _BLANK)
        columns = {
            "short_side": shorter_side(manifest),
            "white_on_white": manifest["mode"].isin(_WITH_ALPHA) & white,
        }
        if params.preprocess.fit in {"auto", "crop"}:
            columns["cut_away"] = 100 * cut_away(manifest)
        if params.image.depth_scaling != "file" and manifest["depth_low"].notna().any():
            columns["range_used"] = 100 * range_used(manifest, params.image.depth_scaling)
        return manifest.assign(**columns)

    def preprocessor(self, card: Mapping[str, Any]) -> ImagePreprocessor:
        """Geometry and normalisation."""
        return ImagePreprocessor.from_json(card)

    def request_stats(self, raw: bytes, row: NDArray[Any]) -> Mapping[str, float]:
        """The file's size in pixels, and the tones of the network's input, which is at hand and small."""
        width, height = upright_size(raw)
        tones = Tones.of_pixels(row)
        return {"width": width, "height": height, "brightness": tones.brightness, "contrast": tones.contrast}

    def example(self) -> bytes:
        """A black JPEG: Pillow imports its decoders with the first image."""
        buffer = io.BytesIO()
        Image.new("RGB", (64, 48)).save(buffer, "JPEG")
        return buffer.getvalue()

    def library_versions(self) -> Sequence[str]:
        """Pillow and its decoders, and numpy."""
        return [f"numpy {np.__version__}", *decoders()]
