"""signlib.browser: what stands below the cell, in a real kernel; the widgets are set as a hand would set them."""

import pytest

from signlib import InputError, load_clips
from signlib.browser import browse

BEGIN = "import signlib\nfrom signlib.browser import browse\nclips = signlib.load_clips({!r})\nbrowser = browse(clips, {!r})"


def test_choosing_a_gloss_or_a_clip_draws_it_and_play_adds_the_player(shown, tmp_path, write_clips):
    glosses = {"00001": "tea", "00002": "book", "00003": "tea", "00004": "book", "00005": "tea"}
    folder = write_clips(tmp_path / "clips", glosses)
    begun, gloss, clip, played, torn, again = shown(
        BEGIN.format(str(folder), "00002"),
        "browser['gloss'].value = 'tea'",
        "browser['clip'].value = '00005'",
        "browser['play'].click(); assert not browser['play'].disabled",
        "clips.find('00003').path.write_bytes(b'torn'); browser['clip'].value = '00003'",
        "browser['play'].click()",
    )
    widgets, text, picture, player = begun
    assert "application/vnd.jupyter.widget-view+json" in widgets
    assert text["text/plain"] == "clip 00002: book, signer 7, train, 7 frames"
    assert "image/png" in picture and player["text/html"] == ""
    assert [moment[1]["text/plain"].split(",")[0] for moment in (gloss, clip)] == ["clip 00001: tea", "clip 00005: tea"]
    assert len({moment[2]["image/png"] for moment in (begun, gloss, clip)}) == 3
    assert "image/png" in played[2] and played[3]["text/html"].count('= "data:image/png') == 10
    assert "00003.npy is not a .npy array" in torn[1]["text/plain"]
    assert "image/png" not in torn[2] and torn[3]["text/html"] == ""  # no picture, no player of another clip
    assert "00003.npy is not a .npy array" in again[3]["text/plain"]


def test_an_unknown_id_is_refused_before_anything_is_shown(folder, capsys):
    with pytest.raises(InputError, match="no usable clip '99999': ids look like 00123"):
        browse(load_clips(folder), "99999")
    assert capsys.readouterr().out == ""
