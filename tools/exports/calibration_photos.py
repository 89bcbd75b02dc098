"""Cuts calibration images from photographs in Debian's packages of desktop backgrounds.

They are not from ImageNet, so a quantised model is audited on images that it was not calibrated on.
"""

import argparse
from pathlib import Path

from tools.shared.files import fail, finished_file

try:
    import numpy as np
    from PIL import Image
except ModuleNotFoundError as error:
    fail(f"calibration_photos needs the package {error.name}; install iaside-onnx")

PACKAGES = "mate-backgrounds lomiri-wallpapers-16.04 lomiri-wallpapers-20.04"
FOLDER = Path("/usr/share/backgrounds")
# Photographs only, no drawings.
PATTERNS = ("mate/nature/*.jpg", "mate/abstract/Elephants_3840x2160.jpg", "*_by_*.jpg")
CROPS = 8
LARGEST_SIDE = 512


def main() -> None:
    """Parses the command line and writes the crops."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    make(parser.parse_args().output)


def make(folder: Path) -> int:
    """Writes square crops of random size and position as JPEG files; returns their number."""
    photos = sorted(path for pattern in PATTERNS for path in FOLDER.glob(pattern))
    if not photos:
        fail(f"there are no photographs in {FOLDER}\n    apt-get install {PACKAGES}")
    for number, path in enumerate(photos):
        rng = np.random.default_rng([0, number])
        with Image.open(path) as opened:
            photo = opened.convert("RGB")
        for crop in range(CROPS):
            side = int(min(photo.size) * rng.uniform(0.3, 1.0))
            left, top = (int(rng.integers(0, length - side + 1)) for length in photo.size)
            piece = photo.crop((left, top, left + side, top + side))
            piece.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
            with finished_file(folder / f"{path.stem}-{crop}.jpg") as partial:
                piece.save(partial, quality=95)
    return len(photos) * CROPS


if __name__ == "__main__":
    main()
