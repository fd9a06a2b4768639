"""Made data in the official layouts, and the scope that classification runs in."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest


def write_idx(path: Path, array: np.ndarray) -> None:
    magic = 2048 + array.ndim
    header = b''.join(int(n).to_bytes(4, 'big') for n in (magic, *array.shape))
    path.write_bytes(header + array.tobytes())


@pytest.fixture
def made_data(tmp_path, monkeypatch):
    """Training pictures are bright, test pictures dark; all are more red than blue."""
    rng = np.random.default_rng(0)

    def grey(n: int, low: int) -> np.ndarray:
        return rng.integers(low, low + 50, (n, 28, 28), dtype=np.uint8)

    def rgb(n: int, low: int, size: int = 32) -> np.ndarray:
        pictures = rng.integers(low, low + 20, (n, size, size, 3), dtype=np.uint8)
        return pictures + np.array([40, 20, 0], np.uint8)

    fashion = tmp_path / 'fashion'
    fashion.mkdir()
    write_idx(fashion / 'train-images-idx3-ubyte', grey(40, 200))
    write_idx(fashion / 'train-labels-idx1-ubyte', np.arange(40, dtype=np.uint8) % 10)
    write_idx(fashion / 't10k-images-idx3-ubyte', grey(20, 50))
    write_idx(fashion / 't10k-labels-idx1-ubyte', np.arange(20, dtype=np.uint8) % 10)
    monkeypatch.setenv('FASHION_MNIST_ROOT', str(fashion))

    npz = tmp_path / 'set.npz'
    arrays = dict(x_train=rgb(40, 150), x_test=rgb(20, 50))
    arrays |= dict(y_train=np.arange(40) % 10, y_test=np.arange(20) % 10)
    np.savez(npz, **arrays)
    monkeypatch.setenv('CIFAR10_NPZ', str(npz))

    for n, cls in ((10, 'CIFAR10'), (100, 'CIFAR100')):
        root = tmp_path / cls
        _make_cifar(root, n, rgb)
        monkeypatch.setenv(f'{cls}_ROOT', str(root))
        monkeypatch.setattr(
            f'mmpretrain.datasets.{cls}._check_integrity', lambda s: True
        )

    imagenet, folder = tmp_path / 'imagenet', tmp_path / 'folder'
    for split, n, low in (('train', 40, 150), ('val', 20, 50)):
        lines = []
        (imagenet / split).mkdir(parents=True)
        for i, picture in enumerate(rgb(n, low, 40)):
            cv2.imwrite(str(imagenet / split / f'{i}.png'), picture[..., ::-1])
            lines.append(f'{i}.png {i * 20}\n')
        (imagenet / 'meta').mkdir(exist_ok=True)
        (imagenet / 'meta' / f'{split}.txt').write_text(''.join(lines))
    monkeypatch.setenv('IMAGENET_ROOT', str(imagenet))
    for split, low in (('train', 150), ('val', 150), ('test', 50)):
        for i, picture in enumerate(rgb(8, low, 160)):
            path = folder / split / 'ab'[i % 2] / f'{i}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture[..., ::-1])
    monkeypatch.setenv('CUSTOM_FOLDER_ROOT', str(folder))
    return tmp_path


def _make_cifar(root: Path, num_classes: int, rgb) -> None:
    if num_classes == 10:
        folder, splits = 'cifar-10-batches-py', {'test_batch': (20, 50)}
        splits |= {f'data_batch_{i}': (8, 150) for i in range(1, 6)}
        key, meta, names = 'labels', 'batches.meta', 'label_names'
    else:
        folder, splits = 'cifar-100-python', {'train': (40, 150), 'test': (20, 50)}
        key, meta, names = 'fine_labels', 'meta', 'fine_label_names'
    (root / folder).mkdir(parents=True)
    for split, (n, low) in splits.items():
        planes = rgb(n, low).transpose(0, 3, 1, 2).reshape(n, -1)
        content = {'data': planes, key: [i % num_classes for i in range(n)]}
        (root / folder / split).write_bytes(pickle.dumps(content))
    classes = {names: [str(i) for i in range(num_classes)]}
    (root / folder / meta).write_bytes(pickle.dumps(classes))
