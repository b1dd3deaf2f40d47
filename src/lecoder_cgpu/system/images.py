"""Images from outside, as Pillow opens them: of four formats, and of a bounded size. It needs Pillow.

Pillow goes by the content, whatever its sender has called it, and reads dozens of formats, some through other programs.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
PIXELS = 32 << 20  # of one picture: up to 4 bytes each, however few its file has


def opened(content: bytes) -> Any:
    """The image, whose pixels are read when they are used.

    Raises:
        OSError, ValueError, SyntaxError: it is something else, or larger.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise ValueError(str(error)) from error
    if picture.width * picture.height > PIXELS:
        raise ValueError(f"{picture.width} x {picture.height} pixels are too many")
    return picture
