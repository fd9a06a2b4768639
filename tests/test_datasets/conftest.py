import cv2
import numpy as np
import pytest


def _write(path, num_frames=20, size=(64, 32), fps=10):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), fps, size)
    for index in range(num_frames):
        frame = np.full((size[1], size[0], 3), 12 * index, np.uint8)
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture(scope='session')
def write_clip():
    """Write an mp4; frame i is grey, about 12 * i."""
    return _write
