"""Lists of videos: a line per video, in the forms that are in use."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from mmengine.fileio import list_from_file

from dynnet.utils.errors import ConfigError, DataError

from .checks import label_problem

# Columns of a line; 'labels' stands for one or more.
COLUMNS = {
    'path label': 'path labels',  # mmaction2's lists of video files
    'path frames label': 'path frames labels',  # lists of AdaFocus, of frame folders
}


@dataclass(frozen=True)
class VideoRecord:
    """A line of a list.

    Attributes:
        path: As it stands in the list.
        num_frames: Number of frames; None where the list does not say.
        labels: Distinct labels, rising.
        where: ``'file, line 7'``, for messages.
    """

    path: str
    num_frames: int | None
    labels: tuple[int, ...]
    where: str = ''


def parse_video_list(
    lines: Iterable[str],
    name: str = 'the list',
    delimiter: str = ' ',
    columns: str = 'path frames label',
    num_classes: int | None = None,
    max_labels: int = 1,
    min_frames: int = 0,
) -> tuple[list[VideoRecord], int]:
    """Read the lines of a list.

    Published lists of AdaFocus: ActivityNet and FCVID ``path,frames,label[,label...]``
    (``delimiter=','``, ``max_labels=3``), Mini-Kinetics and Something-Something ``path
    frames label``; a path may contain spaces. Empty lines are passed over.

    Args:
        lines: The lines.
        name: Of the file, for messages.
        delimiter: ``','`` or ``' '``.
        columns: ``'path frames label'`` or ``'path label'``.
        num_classes: Labels must be below it; None checks only that they are not
            negative.
        max_labels: How many distinct labels a video may have. With more than one the
            delimiter must not be a space, where a label could not be told from a path.
        min_frames: Videos with fewer frames are left out and counted (3 in the
            published code).

    Returns:
        The records, and how many videos were left out.

    Raises:
        ConfigError: An argument that cannot be.
        DataError: A line that is not as promised; file, line and fault are named.
    """
    if columns not in COLUMNS:
        raise ConfigError(f'columns={columns!r} must be one of {", ".join(COLUMNS)}')
    if max_labels > 1 and delimiter == ' ':
        raise ConfigError(f'max_labels={max_labels} needs another delimiter than " "')
    has_frames = 'frames' in columns
    records, dropped = [], 0
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line:
            continue
        where = f'{name}, line {number}'
        record = _parse_line(line, where, delimiter, has_frames, max_labels)
        for label in record.labels:
            problem = label_problem(label, num_classes)
            if problem:
                raise DataError(f'{where}: {problem}')
        if record.num_frames is not None and record.num_frames < min_frames:
            dropped += 1
        else:
            records.append(record)
    return records, dropped


def load_video_list(path: str | os.PathLike, **kwargs) -> tuple[list[VideoRecord], int]:
    """Read a list file.

    Args:
        path: The file.
        **kwargs: Other arguments of :func:`parse_video_list`.

    Returns:
        The records, and how many videos were left out.

    Raises:
        DataError: The file is missing or has no line to use, or a line is not as
            promised.
    """
    path = os.fspath(path)
    try:
        lines = list_from_file(path)
    except FileNotFoundError as error:
        raise DataError(f'list {path} does not exist') from error
    except UnicodeDecodeError as error:
        raise DataError(f'list {path} is no text file') from error
    records, dropped = parse_video_list(lines, name=path, **kwargs)
    if not records:
        reason = f': all {dropped} videos have too few frames' if dropped else ''
        raise DataError(f'list {path} has no videos{reason}')
    return records, dropped


def _parse_line(
    line: str, where: str, delimiter: str, has_frames: bool, max_labels: int
) -> VideoRecord:
    form = delimiter.join(['path', *(['frames'] if has_frames else []), 'label'])
    fixed = 2 if has_frames else 1
    # From the right, because a path may contain spaces.
    cells = line.rsplit(None, fixed) if delimiter == ' ' else line.split(delimiter)
    cells = [cell.strip() for cell in cells]
    if len(cells) < fixed + 1 or not cells[0]:
        raise DataError(f'{where}: {line!r} lacks a column of "{form}"')
    names = ['number of frames'] if has_frames else []
    numbers = []
    for position, cell in enumerate(cells[1:]):
        try:
            numbers.append(int(cell))
        except ValueError:
            what = names[position] if position < len(names) else 'label'
            raise DataError(
                f'{where}: {what} {cell!r} is no integer (the line must be "{form}")'
            ) from None
    frames = numbers.pop(0) if has_frames else None
    if frames is not None and frames < 0:
        raise DataError(f'{where}: number of frames {frames} is negative')
    labels = tuple(sorted(set(numbers)))
    if len(labels) > max_labels:
        raise DataError(
            f'{where}: {len(labels)} labels, at most {max_labels} are allowed'
        )
    return VideoRecord(cells[0], frames, labels, where)
