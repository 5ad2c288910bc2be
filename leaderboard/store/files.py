"""Files by their content: the name of a file is the SHA-256 of its bytes, so it is kept once and never changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from algorithms.files import sync_folder

from ..reading import file_hash

CHUNK = 1 << 20


class ContentFiles:
    """The folder of all files of a store. A file is there whole or not at all, whenever the process is killed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self.root / sha256[:2] / sha256

    def add(self, source: Path) -> str:
        """Copy a file in; its hash. What is copied is what is hashed."""
        digest = hashlib.sha256()
        handle, made = tempfile.mkstemp(prefix="incoming-", dir=self.root)
        try:
            with os.fdopen(handle, "wb") as target, source.open("rb") as file:
                while piece := file.read(CHUNK):
                    digest.update(piece)
                    target.write(piece)
                target.flush()
                os.fsync(target.fileno())
            place = self.path(digest.hexdigest())
            if place.exists():
                os.unlink(made)
            else:
                place.parent.mkdir(exist_ok=True)
                os.replace(made, place)
                sync_folder(place.parent)
        except BaseException:
            Path(made).unlink(missing_ok=True)
            raise
        return digest.hexdigest()

    def give(self, sha256: str, target: Path) -> None:
        """Put a file at `target`, without copying where the file system can."""
        try:
            os.link(self.path(sha256), target)
        except OSError:
            shutil.copyfile(self.path(sha256), target)

    def whole(self, sha256: str) -> bool:
        """Whether the file is there and its bytes are still those of its name."""
        place = self.path(sha256)
        return place.is_file() and file_hash(place) == sha256
