"""Write files so that a kill or a full disk never leaves half of one."""

import os
from pathlib import Path

SUFFIX = '.dynnet-tmp'


def write_atomic(path: str | os.PathLike, data: bytes) -> None:
    """Write ``data`` aside, flush it to the disk, then rename it to ``path``.

    Whoever opens ``path`` sees the old content or the new one, whenever the writing
    stops. What a killed process left aside is overwritten by the next write of the
    same file or removed by :func:`remove_leftovers`.

    Args:
        path: Final name. Its folder is made if it is missing.
        data: The whole content.

    Raises:
        OSError: The disk is full or the folder cannot be written; the old file is
            untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + SUFFIX)
    try:
        with aside.open('wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_leftovers(folder: str | os.PathLike) -> list[Path]:
    """Remove what killed calls of :func:`write_atomic` left in ``folder``.

    Args:
        folder: Folder to look at, without its sub-folders. Nobody may be writing
            into it.

    Returns:
        The removed paths.
    """
    leftovers = sorted(Path(folder).glob(f'*{SUFFIX}'))
    for path in leftovers:
        path.unlink(missing_ok=True)
    return leftovers


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows cannot open folders
        return
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems cannot sync folders
        pass
    finally:
        os.close(descriptor)
