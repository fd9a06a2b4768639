import pytest

from dynnet.datasets.video_list import load_video_list, parse_video_list
from dynnet.utils.errors import ConfigError, DataError

COMMA = dict(delimiter=',', max_labels=3, min_frames=3)


def rows(text, **kwargs):
    records, dropped = parse_video_list(text.splitlines(), **kwargs)
    return [(r.path, r.num_frames, r.labels) for r in records], dropped


def test_the_published_forms():
    found = rows('v_aaa,120,7\nv_bbb,2,1\n\nv_ccc,64,9,3\n', **COMMA)
    assert found == ([('v_aaa', 120, (7,)), ('v_ccc', 64, (3, 9))], 1)
    assert rows('x/y,33,4,2,1', **COMMA)[0] == [('x/y', 33, (1, 2, 4))]
    found = rows('a b c 44 6\nd 10 5\n', min_frames=3)
    assert found == ([('a b c', 44, (6,)), ('d', 10, (5,))], 0)
    found = rows('my clip.mp4 1\nb.mp4   0\n', columns='path label')
    assert found[0] == [('my clip.mp4', None, (1,)), ('b.mp4', None, (0,))]


@pytest.mark.parametrize(
    ('line', 'options', 'message'),
    [
        ('v_x,12', COMMA, 'lacks a column of "path,frames,label"'),
        (',12,3', COMMA, 'lacks a column'),
        ('clip 12', {}, 'lacks a column of "path frames label"'),
        ('clip', dict(columns='path label'), 'lacks a column of "path label"'),
        ('my clip 12', {}, "number of frames 'clip' is no integer"),
        ('v_x,12,run', COMMA, "label 'run' is no integer"),
        ('v_x,12,', COMMA, "label '' is no integer"),
        ('v_x,-1,3', COMMA, 'number of frames -1 is negative'),
        ('v_x,12,1,2,3,4', COMMA, '4 labels, at most 3'),
        ('v_x,12,1,2', dict(delimiter=','), '2 labels, at most 1'),
        ('clip 12 -3', {}, 'label -3 is negative'),
        ('clip 12 7', dict(num_classes=5), 'label 7 is not between 0 and 4'),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, options, message):
    good = 'good,5,1' if options.get('delimiter') else 'good 5 1'
    path = tmp_path / 'train.txt'
    path.write_text(f'{good}\n\n{line}\n')
    with pytest.raises(DataError, match=f'train.txt, line 3: .*{message}'):
        load_video_list(path, **options)


def test_files_that_are_no_lists(tmp_path):
    with pytest.raises(DataError, match='list .*none.txt does not exist'):
        load_video_list(tmp_path / 'none.txt')
    path = tmp_path / 'list.txt'
    path.write_text('\n')
    with pytest.raises(DataError, match='list.txt has no videos$'):
        load_video_list(path)
    path.write_text('a 2 1\nb 1 0\n')
    with pytest.raises(DataError, match='all 2 videos have too few frames'):
        load_video_list(path, min_frames=3)
    path.write_bytes(b'\xff\xfe\x00\xd8')
    with pytest.raises(DataError, match='list.txt is no text file'):
        load_video_list(path)


def test_arguments_that_cannot_be():
    with pytest.raises(ConfigError, match="columns='label path' must be one of"):
        parse_video_list([], columns='label path')
    with pytest.raises(ConfigError, match='max_labels=3 needs another delimiter'):
        parse_video_list([], max_labels=3)
