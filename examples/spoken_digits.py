"""Spoken digits: recordings to frames of a filter bank."""

import wave
from itertools import pairwise
from pathlib import Path

import numpy as np

import limpet

RATE = 8000  # Hz
FRAME = 128  # samples between frames: 16 ms
CHANNELS, FRAMES = 24, 40
WINDOW = 256
HOW_TO_GET_IT = (
    "give the recordings/ folder of a clone of github.com/Jakobovski/free-spoken-digit-dataset, or an fsdd.npz of it"
)

Examples = tuple[np.ndarray, np.ndarray]


def load(path: Path) -> tuple[Examples, Examples]:
    """Features (recordings, FRAMES, CHANNELS), about 0 to 1, and labels, to train on and to test.

    The split is the data set's own: of each speaker's fifty recordings of a digit, numbers 0 to 4 are the test set.

    Args:
        path: the folder of recordings (`7_jackson_32.wav`), or a packed `fsdd.npz`.

    Raises:
        LimpetError: there is nothing of the kind.
    """
    if path.is_dir():
        recordings = [_read(file) for file in sorted(path.glob("*_*_*.wav"))]
    elif path.suffix == ".npz" and path.is_file():
        with np.load(path, allow_pickle=False) as packed:
            bounds = packed["offsets"]
            samples = packed["audio"]
            audio = [samples[start:end] for start, end in pairwise(bounds)]
            recordings = list(zip(audio, packed["label"].tolist(), packed["index"].tolist(), strict=True))
    else:
        raise limpet.LimpetError(f"--data {path}: there are no recordings; {HOW_TO_GET_IT}")
    if not recordings:
        raise limpet.LimpetError(f"--data {path}: the folder holds no recordings; {HOW_TO_GET_IT}")
    features = np.stack([filter_bank(audio) for audio, _, _ in recordings])
    labels = np.array([label for _, label, _ in recordings], np.int32)
    test = np.array([index < 5 for _, _, index in recordings])
    scale = np.quantile(features[~test], 0.99)
    features = np.clip(features / scale, 0, 1.5).astype(np.float32)
    return (features[~test], labels[~test]), (features[test], labels[test])


def filter_bank(audio: np.ndarray) -> np.ndarray:
    """Compressed energies in triangular bands, evenly spaced on the mel scale, shape (FRAMES, CHANNELS).

    Longer recordings are cut, shorter ones padded with silence. The mel scale is that of O'Shaughnessy (1987), "Speech
    communication: human and machine": 2595 log10(1 + f / 700).
    """
    wanted = (FRAMES - 1) * FRAME + WINDOW
    audio = np.pad(audio[:wanted].astype(np.float64), (0, max(0, wanted - len(audio))))
    frames = np.lib.stride_tricks.sliding_window_view(audio, WINDOW)[::FRAME] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, CHANNELS + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(WINDOW, 1 / RATE)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    bands = np.clip(np.minimum(rising, falling), 0, None)
    energies = power @ bands.T
    return np.log1p(energies / (energies.mean() + 1e-9))


def _read(file: Path) -> tuple[np.ndarray, int, int]:
    label, _, index = file.stem.split("_")
    with wave.open(str(file)) as recording:
        return np.frombuffer(recording.readframes(recording.getnframes()), np.int16), int(label), int(index)
