import gzip
import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools/dataset_converters/prepare_fashion_mnist.py'


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """The tool, with small files and no way to get them but the folder's own."""
    spec = importlib.util.spec_from_file_location('prepare_fashion_mnist', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shapes = [(5, 4, 3), (5,), (2, 4, 3), (2,)]
    small = {
        name: (magic, shape)
        for (name, (magic, _)), shape in zip(module.FILES.items(), shapes, strict=True)
    }
    monkeypatch.setattr(module, 'FILES', small)
    monkeypatch.setattr(module, 'INSTALLED', tmp_path / 'installed')
    ways = {
        name: source
        for name, source in module.SOURCES.items()
        if source in (module.from_folder, module.from_installed_package)
    }
    monkeypatch.setattr(module, 'SOURCES', ways)
    return module


def contents(tool):
    """The four small files, as bytes."""
    files = {}
    for name, (magic, shape) in tool.FILES.items():
        size = 1
        for n in shape:
            size *= n
        header = b''.join(n.to_bytes(4, 'big') for n in (magic, *shape))
        files[name] = header + bytes(i % 251 for i in range(size))
    return files


def write(folder, files, packed):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if packed:
            (folder / f'{name}.gz').write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def read(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_installed_package_is_unpacked(tool, tmp_path, capsys):
    files = contents(tool)
    write(tmp_path / 'installed', files, packed=True)
    out = tmp_path / 'out'
    assert tool.main(['--out', str(out)]) == 0
    assert read(out) == files, 'exactly the four files, nothing left aside'
    assert 'the installed Debian package' in capsys.readouterr().out


def test_whole_files_are_left_alone_and_packed_ones_unpacked(tool, tmp_path):
    files = contents(tool)
    write(tmp_path / 'whole', files, packed=False)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / 'whole').iterdir()}
    assert tool.prepare(tmp_path / 'whole') == 'the output folder'
    assert {p: p.stat().st_mtime_ns for p in before} == before
    write(tmp_path / 'packed', files, packed=True)
    assert tool.prepare(tmp_path / 'packed') == 'the output folder'
    for name, content in files.items():
        assert (tmp_path / 'packed' / name).read_bytes() == content


def test_a_cut_file_is_replaced(tool, tmp_path):
    files = contents(tool)
    write(tmp_path / 'installed', files, packed=True)
    write(tmp_path / 'out', files, packed=False)
    cut = tmp_path / 'out' / 't10k-images-idx3-ubyte'
    cut.write_bytes(cut.read_bytes()[:-1])
    tool.prepare(tmp_path / 'out')
    assert read(tmp_path / 'out') == files


@pytest.mark.parametrize('damage', [lambda d: d[:-9], lambda d: b'x' + d[1:]])
def test_damaged_sources_leave_nothing_behind(tool, tmp_path, damage, capsys):
    write(tmp_path / 'installed', contents(tool), packed=True)
    first = tmp_path / 'installed' / 'train-images-idx3-ubyte.gz'
    first.write_bytes(damage(first.read_bytes()))
    assert tool.main(['--out', str(tmp_path / 'out')]) == 1
    assert read(tmp_path / 'out') == {}
    assert 'train-images-idx3-ubyte.gz is damaged' in capsys.readouterr().out


def test_without_any_source_one_line_names_the_ways(tool, tmp_path, capsys):
    assert tool.main(['--out', str(tmp_path / 'out')]) == 1
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    for way in ('apt-get install', 'apt-get download', 'mmpretrain', 'copy the four'):
        assert way in error


def test_the_real_sizes(tool):
    spec = importlib.util.spec_from_file_location('fresh', TOOL)
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    assert [shape[0] for _, shape in fresh.FILES.values()] == [60000] * 2 + [10000] * 2
