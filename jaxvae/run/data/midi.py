"""A piano roll as a standard MIDI file, to be listened to."""

import struct

import numpy as np

TICKS = 480  # of a quarter note


def midi(roll: np.ndarray, *, lowest: int = 21, beats_per_minute: float = 90.0, velocity: int = 80) -> bytes:
    """The bytes of a MIDI file of one track, a quarter note for every step.

    A pitch that sounds in consecutive steps is one long note: a roll does not tell a held note from a repeated one.

    Args:
        roll: [T, P] zero where a pitch is silent; only the steps that there are, without padding.
        lowest: the MIDI number of the first pitch, 60 being the middle C.
        beats_per_minute: quarter notes in a minute.
        velocity: 1 to 127, how loud.

    Returns:
        The file, format 0, piano.

    Raises:
        ValueError: the roll has another shape, or pitches, loudness or tempo that MIDI does not have.

    Example:
        >>> len(midi(np.ones((2, 1))))
        45

    Source: MIDI Manufacturers Association, "Standard MIDI Files 1.0" (1996).
    """
    roll = np.asarray(roll)
    if roll.ndim != 2 or not 0 <= lowest <= 128 - roll.shape[-1]:
        raise ValueError(
            f"a roll of the shape {roll.shape} from pitch {lowest} is not [steps, pitches] with pitches up to 127"
        )
    microseconds = round(60e6 / beats_per_minute) if beats_per_minute > 0 else 0
    if not 1 <= velocity <= 127 or not 1 <= microseconds < 1 << 24:
        raise ValueError(
            f"velocity={velocity} must lie between 1 and 127, and beats_per_minute={beats_per_minute} between 3.6 and "
            "60 million"
        )
    silence = np.zeros((1, roll.shape[1]), bool)
    changes = np.diff(np.concatenate([silence, roll != 0, silence]).astype(np.int8), axis=0)  # [T + 1, P]
    track = b"\x00\xff\x51\x03" + microseconds.to_bytes(3, "big") + b"\x00\xc0\x00"  # the tempo, and a piano
    last = 0
    for step, change in enumerate(changes):
        for status, wanted, loud in ((0x80, -1, 0), (0x90, 1, velocity)):  # ends come before beginnings
            for pitch in np.flatnonzero(change == wanted):
                track += _length(TICKS * (step - last)) + bytes((status, lowest + int(pitch), loud))
                last = step
    track += _length(TICKS * (len(roll) - last)) + b"\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, TICKS) + b"MTrk" + struct.pack(">I", len(track)) + track


def _length(number: int) -> bytes:
    """A number of any size, seven bits in a byte, the high bit set in all but the last."""
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.insert(0, 0x80 | number & 0x7F)
    return bytes(digits)
