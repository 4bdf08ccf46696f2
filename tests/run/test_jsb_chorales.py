"""The chorales are those of the literature, by their counts and floors; a roll comes back from its MIDI file."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from jaxvae.run.data import DataError
from jaxvae.run.data.jsb_chorales import FILE, chorales
from jaxvae.run.data.midi import midi

SOURCE = Path(os.environ.get("JAXVAE_DATA_SOURCE") or Path(__file__).resolve().parents[3] / "shared" / "data")

there = pytest.mark.skipif(
    not (SOURCE / "jsb_chorales").is_dir(),
    reason=f"the chorales are not in {SOURCE}; set JAXVAE_DATA_SOURCE",
)


@pytest.fixture(scope="module")
def parts():
    return chorales(SOURCE)


@there
def test_the_parts_have_the_published_sizes(parts):
    assert set(parts) == {"train", "valid", "test"}
    sizes = {part: (*values.shape, mask.sum()) for part, (values, mask) in parts.items()}
    assert sizes == {"train": (229, 129, 88, 13_807), "valid": (76, 144, 88, 4_602), "test": (77, 160, 88, 4_725)}
    for values, mask in parts.values():
        assert values.dtype == mask.dtype == np.uint8
        assert set(np.unique(values)) == {0, 1}
        assert np.all(np.diff(mask.astype(int), axis=1) <= 0)  # ones, then zeros
        assert mask.sum(axis=1).min() > 20
        assert not np.any(values[mask == 0])


@there
def test_the_rolls_are_the_lists_of_pitches(parts):
    content = json.loads((SOURCE / "jsb_chorales" / FILE).read_text())
    for part, sequences in content.items():
        values, mask = parts[part]
        for row in (0, len(sequences) - 1):
            steps = [(21 + np.flatnonzero(step)).tolist() for step in values[row, : mask[row].sum()]]
            assert steps == [sorted(set(step)) for step in sequences[row]]


@there
def test_independent_pitches_cost_what_is_published(parts):
    """11.06 nats a step on the test set, every pitch at its rate in the training set: the floor of all models."""
    values, mask = parts["train"]
    rate = np.clip(values.sum(axis=(0, 1)) / mask.sum(), 1e-4, 1 - 1e-4)
    values, mask = parts["test"]
    each = -(values * np.log(rate) + (1 - values) * np.log1p(-rate)).sum(axis=-1)
    assert (each * mask).sum() / mask.sum() == pytest.approx(11.06, abs=0.02)


@there
def test_the_folder_may_be_named_in_the_environment(parts, monkeypatch):
    monkeypatch.setenv("JAXVAE_DATA_SOURCE", str(SOURCE / "jsb_chorales"))
    np.testing.assert_array_equal(chorales()["valid"][0], parts["valid"][0])


def test_what_is_not_there_or_damaged_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("JAXVAE_DATA_SOURCE", raising=False)
    with pytest.raises(DataError, match=r"at hand: fetch it from https://\S+json and name its folder with source="):
        chorales()
    with pytest.raises(DataError, match=rf"there is no {FILE} in {tmp_path}/jsb_chorales or {tmp_path}: fetch"):
        chorales(tmp_path)
    (tmp_path / FILE).write_text('{"train": [[[60]]]}')
    with pytest.raises(DataError, match="the file is damaged or another one"):
        chorales(tmp_path)


def parsed(content):
    """The notes of a MIDI file of one track: (pitch, begin, end) in ticks, the tempo, and the track's end."""
    header, size, kind, tracks, ticks = struct.unpack(">4sIHHH", content[:14])
    assert (header, size, kind, tracks) == (b"MThd", 6, 0, 1)
    assert content[14:18] == b"MTrk"
    track = content[22:]
    assert struct.unpack(">I", content[18:22]) == (len(track),)
    place, now, begun, notes, tempo = 0, 0, {}, [], None
    while True:
        delta = 0
        while True:
            byte = track[place]
            place += 1
            delta = delta << 7 | byte & 0x7F
            if byte < 0x80:
                break
        now += delta
        status = track[place]
        if status == 0xFF:
            kind, length = track[place + 1 : place + 3]
            data = track[place + 3 : place + 3 + length]
            place += 3 + length
            if kind == 0x2F:
                assert place == len(track)
                assert not begun
                return notes, ticks, tempo, now
            assert kind == 0x51
            tempo = int.from_bytes(data, "big")
        elif status == 0xC0:
            place += 2
        else:
            pitch, velocity = track[place + 1 : place + 3]
            place += 3
            if status == 0x90:
                assert pitch not in begun
                assert velocity > 0
                begun[pitch] = now
            else:
                assert status == 0x80
                notes.append((pitch, begun.pop(pitch), now))


@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("length", [1, 40, 300])
def test_a_roll_comes_back_from_its_midi_file(density, length):
    roll = np.random.default_rng(0).random((length, 88)) < density
    notes, ticks, tempo, end = parsed(midi(roll, beats_per_minute=60))
    assert tempo == 1_000_000
    assert end == ticks * length
    back = np.zeros_like(roll)
    for pitch, begin, stop in notes:
        assert begin % ticks == stop % ticks == 0
        assert not back[begin // ticks : stop // ticks, pitch - 21].any()
        back[begin // ticks : stop // ticks, pitch - 21] = True
    np.testing.assert_array_equal(back, roll)


def test_a_held_pitch_is_one_note():
    notes, ticks, _, _ = parsed(midi(np.array([[0, 1], [1, 1], [0, 1]]), lowest=60))
    assert sorted(notes) == [(60, ticks, 2 * ticks), (61, 0, 3 * ticks)]


def test_what_midi_does_not_have_is_refused():
    with pytest.raises(ValueError, match=r"a roll of the shape \(5,\)"):
        midi(np.ones(5))
    with pytest.raises(ValueError, match="from pitch 120 is not"):
        midi(np.ones((2, 9)), lowest=120)
    with pytest.raises(ValueError, match="velocity=0 must lie"):
        midi(np.ones((2, 9)), velocity=0)
    with pytest.raises(ValueError, match="beats_per_minute=-1"):
        midi(np.ones((2, 9)), beats_per_minute=-1)
