"""Reader for ``tests/vectors/*.txt``, the data that the C++ and the Python suite share: see ``cpp/tests/vectors.h``."""

from pathlib import Path

DIRECTORY = Path(__file__).parents[1] / "vectors"


def read_vectors(name):
    """Return the blocks of file *name*, each a dict; never none, so that nothing passes for want of data."""
    blocks = [{}]
    for line in DIRECTORY.joinpath(name).read_text(encoding="utf-8").splitlines():
        if not line.strip():
            blocks.append({})
        elif not line.startswith("#"):
            field, value = (part.strip() for part in line.split("=", 1))
            if field in blocks[-1]:
                raise ValueError(f"{field} twice in one block of {name}")
            blocks[-1][field] = value
    blocks = [block for block in blocks if block]
    if not blocks:
        raise ValueError(f"no vectors in {name}")
    return blocks
