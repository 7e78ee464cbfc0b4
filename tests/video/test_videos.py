"""Which videos are clips, and which frames of them: needs no MediaPipe."""

import json
import os
import pathlib

import pytest

from signlib.errors import InputError
from signlib.video.videos import find_json, find_videos


def lay_out(folder, *names, instances=()):
    """Empty videos of these names, and a json of the instances; returns (folder, json)."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"video")
    path = folder / "WLASL_v0.3.json"
    path.write_text(json.dumps([{"gloss": "book", "instances": list(instances)}]))
    return folder, path


def test_without_labels_clips_are_named_as_their_videos(tmp_path):
    lay_out(tmp_path, "b.MP4", "book/01.mov", "book/02.webm", ".hidden/x.mp4", "._b.mp4", "notes.txt")
    sources, problems, missing = find_videos(tmp_path)
    assert [(s.video_id, s.path) for s in sources] == [("b", "b.MP4"), ("book/01", "book/01.mov"), ("book/02", "book/02.webm")]
    assert problems == {} and missing == [] and sources[0].seconds == (0, float("inf"))


def test_the_json_says_which_frames(tmp_path):
    """1-based, the last one included, -1 to the end, at its own rate."""
    instances = [
        {"video_id": "00001", "frame_start": 1, "frame_end": 50, "fps": 25},
        {"video_id": "00002", "frame_start": 31, "frame_end": -1, "fps": 30},
        {"video_id": 3, "bbox": [10, 20, 200, 300]},
        {"video_id": "00004", "frame_start": "101", "frame_end": "150", "fps": "50", "bbox": [0, 0, 0, 0]},
        {"video_id": "00005"},
    ]
    sources, _, missing = find_videos(*lay_out(tmp_path, *(f"0000{n}.mp4" for n in (1, 2, 3, 4)), instances=instances))
    assert [s.seconds for s in sources] == [(0, 2), (1, float("inf")), (0, float("inf")), (2, 3)]
    assert [s.bbox for s in sources] == [(), (), (10, 20, 200, 300), ()]
    assert missing == ["00005"] and not any(s.note for s in sources)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"frame_start": 11, "frame_end": 5}, "frames 11 to 5"),
        ({"frame_start": 0, "frame_end": 49}, "frames 0 to 49"),
        ({"frame_start": None, "frame_end": 50}, "frames None to 50"),
        ({"fps": 0}, "fps 0 is none"),
        ({"fps": "x"}, "fps 'x' is none"),
        ({"fps": float("nan")}, "fps nan is none"),
    ],
)
def test_what_the_json_cannot_mean_is_noted(tmp_path, given, said):
    ((source,), _, _) = find_videos(*lay_out(tmp_path, "00001.mp4", instances=[{"video_id": "00001"} | given]))
    assert said in source.note and source.span == (1, -1) and source.json_fps == 25


@pytest.mark.parametrize("video_id", ["../../evil", "", ".hidden", "a/b", "/abs"])
def test_an_id_that_is_no_name_of_a_file_is_a_problem(tmp_path, video_id):
    instance = {"video_id": video_id, "url": "https://youtu.be/abcdefghijk"}
    sources, problems, _ = find_videos(*lay_out(tmp_path, "abcdefghijk.mp4", instances=[instance]))
    assert "no name of a file" in problems[video_id] and [s.video_id for s in sources] == ["abcdefghijk"]


def test_names_and_links_of_every_kind(tmp_path):
    names = ["my  video.mp4", "a\u3000b.mp4", "3.04\u202fPM.mov", "Müller/日本.mp4", "100%.mp4"]
    lay_out(tmp_path / "v", *names)
    (tmp_path / "v" / "line\nbreak.mp4").write_bytes(b"video")
    pathlib.Path(os.fsdecode(bytes(tmp_path / "v") + b"/b\xff.mp4")).write_bytes(b"video")
    lay_out(tmp_path / "more", "x.mp4")
    (tmp_path / "v" / "linked").symlink_to(tmp_path / "more")
    (tmp_path / "more" / "back").symlink_to(tmp_path / "v")
    (tmp_path / "v" / "broken.mp4").symlink_to(tmp_path / "nothing")
    sources, problems, _ = find_videos(tmp_path / "v")
    assert {s.path for s in sources} == {*names, "linked/x.mp4"}
    assert {name: why.partition(":")[0] for name, why in problems.items()} == {
        "'line\\nbreak.mp4'": "its name holds a line break or the like",
        "'b\\udcff.mp4'": "its name is not UTF-8",
        "broken.mp4": "cannot be read",
    }


def test_several_clips_of_one_recording_and_videos_that_nobody_listed(tmp_path):
    url = "https://www.youtube.com/watch?v=abcdefghijk"
    instances = [
        {"video_id": "00001", "url": url, "frame_start": 101, "frame_end": 150},
        {"video_id": "00002", "url": url, "frame_start": 201, "frame_end": 250},
        {"video_id": "00003", "url": "https://youtu.be/own-of-0003"},
    ]
    sources, problems, _ = find_videos(
        *lay_out(tmp_path, "abcdefghijk.mkv", "00003.mp4", "more/77777.avi", "more/00003.avi", instances=instances)
    )
    assert [(s.video_id, s.path, s.span) for s in sources] == [
        ("00001", "abcdefghijk.mkv", (101, 150)),
        ("00002", "abcdefghijk.mkv", (201, 250)),
        ("00003", "00003.mp4", (1, -1)),
        ("77777", "more/77777.avi", (1, -1)),
    ]
    assert list(problems) == ["more/00003.avi"] and "00003.mp4 has the same name" in problems["more/00003.avi"]


def test_a_json_is_found_in_the_folder_or_beside_it(tmp_path):
    assert find_json(tmp_path) is None
    _, path = lay_out(tmp_path, "videos/1.mp4")
    assert find_json(tmp_path / "videos") == path == find_json(tmp_path)


def test_what_cannot_be_used_is_named(tmp_path):
    with pytest.raises(InputError, match="no folder of videos at"):
        find_videos(tmp_path / "none")
    with pytest.raises(InputError, match=r"no video in .*expected files that end in \.3gp"):
        find_videos(tmp_path)
    folder, path = lay_out(tmp_path, "1.mp4")
    path.write_text("[")
    with pytest.raises(InputError, match="is not json"):
        find_videos(folder, path)
