"""Datasets of Ray Data: recordings in, voices out, on as many machines as a cluster has.

::

    ray.data.read_parquet(...) ──> separate_dataset ──> write_parquet(...)

Nothing here schedules: Ray Data streams the rows, retries what is lost with a machine, and scales.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
import soundfile

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.files import AudioReader
from tisdiss_rt.corpus.on_ray import import_ray
from tisdiss_rt.corpus.voices import expected_db
from tisdiss_rt.errors import AudioError, TisdissError
from tisdiss_rt.talkers.activity import Activity

_STRUCT = "audio"  # as Hugging Face calls a column of structs with the others in it
_ARRAY, _BYTES, _PATH, _RATE = "array", "bytes", "path", "sampling_rate"


def separate_dataset(
    dataset: Any,
    bundle: str = "edge-16k",
    *,
    num_cpus: float = 1,
    num_gpus: float = 0,
    actors: int | None = None,
    provider: str = "auto",
    precision: str = "auto",
    **options: Any,
) -> Any:
    """Separate the recordings of a `ray.data.Dataset`: a row for each becomes one for each voice.

    A recording is in the columns ``array`` (samples (n,) or (n, channels), floating point) and
    ``sampling_rate``, or in ``bytes`` (the content of an audio file), or ``path`` says where it is, for all
    machines; or a column ``audio`` is a struct of these, as in datasets of Hugging Face. Voices are in
    ``array`` and ``sampling_rate`` where the recordings are; otherwise in ``bytes``, as WAV files. All other
    columns stay. New ones are:

    - ``talker``, ``voices``: which one it is, from 1, of how many; 0 where nothing could be separated.
    - ``depth``, ``speech_s``, ``overlap_s``, ``level_db``: see `Activity`; the level of silence is NaN.
    - ``estimate_db``: how good the voice is expected to be, SI-SDR in dB; NaN where nobody knows.
    - ``error``: what is wrong with the recording; empty where nothing is.

    Nothing is computed before the result is used.

    Args:
        dataset: the recordings.
        bundle: a name, or a folder that all machines have.
        num_cpus: cores, and threads, of each actor.
        num_gpus: GPUs of each actor.
        actors: how many; None for as many as there is room for.
        provider: as for `Separator`, as is ``precision``.
        options: those of `Separator.separate`.

    Returns:
        a `ray.data.Dataset`.

    Raises:
        ProviderError: Ray is not installed.
    """
    threads = max(1, int(num_cpus))
    engine = {"bundle": bundle, "provider": provider, "precision": precision, "threads": threads}
    return dataset.flat_map(
        _Rows,
        fn_constructor_kwargs={"engine": engine, "options": options},
        compute=import_ray().data.ActorPoolStrategy(size=actors),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
    )


class _Rows:
    """An actor: takes a row with a recording, returns one for each voice."""

    def __init__(self, engine: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        from tisdiss_rt.separator import Separator

        self._separator, self._options = Separator(**engine), options

    def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        is_struct = isinstance(row.get(_STRUCT), Mapping)
        audio = row[_STRUCT] if is_struct else row
        kept = {name: value for name, value in row.items() if name not in (_STRUCT, _ARRAY, _BYTES)}
        is_array = audio.get(_ARRAY) is not None
        where = {_PATH: audio.get(_PATH) or ""} if is_struct else {}
        rows = []
        for voice, subtype, rate, told in self._voices(audio):
            new = {
                **where,
                _RATE: rate,
                **({_ARRAY: voice} if is_array else {_BYTES: _wav(voice, rate, subtype)}),
            }
            rows.append({**kept, **({_STRUCT: new} if is_struct else new), **told})
        return rows

    def _voices(self, audio: Mapping[str, Any]) -> Iterator[tuple[Array, str, int, dict[str, Any]]]:
        """Yield each voice (n,), the resolution and the rate of the recording, and what is told of it."""
        error, subtype, rate = "", "FLOAT", 0
        try:
            mix, rate, subtype, error = _read(audio)
            result = self._separator.separate(mix, rate, **self._options)
        except (TisdissError, OSError) as problem:
            nothing = {"talker": 0, "voices": 0, "depth": 0.0, **dataclasses.asdict(Activity())}
            told = {**nothing, "level_db": math.nan, "estimate_db": math.nan, "error": str(problem)}
            yield np.zeros(0, np.float32), subtype, rate, told
            return
        depths = [step.depth for step in result.steps]
        of_all = {"voices": len(result.sources), "depth": sum(depths) / max(1, len(depths)), "error": error}
        for number, (voice, has) in enumerate(zip(result.sources, result.activity, strict=True), start=1):
            estimate_db = expected_db(result, number - 1)
            own = {
                **{"talker": number, **dataclasses.asdict(has)},
                "level_db": math.nan if has.level_db is None else has.level_db,
                "estimate_db": math.nan if estimate_db is None else estimate_db,
            }
            yield voice, subtype, rate, {**own, **of_all}


def _read(audio: Mapping[str, Any]) -> tuple[Array, int, str, str]:
    """Return the samples of a recording, their rate and resolution, and what is wrong with it."""
    if audio.get(_ARRAY) is not None:
        if audio.get(_RATE) is None:
            raise AudioError(f"the row has {_ARRAY}, but no {_RATE}")
        try:
            return np.asarray(audio[_ARRAY]), int(audio[_RATE]), "FLOAT", ""
        except (TypeError, ValueError, OverflowError) as error:
            raise AudioError(f"{_ARRAY} and {_RATE} are no samples and their rate: {error}") from error
    content = audio.get(_BYTES)
    if content is None and not audio.get(_PATH):
        raise AudioError(f"the row has none of {_ARRAY}, {_BYTES} and {_PATH}")
    source = audio[_PATH] if content is None else io.BytesIO(content)
    with AudioReader(source) as reader:
        mix = np.concatenate(list(reader.columns()))
        return mix, reader.sample_rate, reader.subtype, reader.problem or ""


def _wav(voice: Array, rate: int, subtype: str) -> bytes:
    """Return a WAV file; nothing where there are no samples."""
    if not len(voice):
        return b""
    with closing(io.BytesIO()) as file:
        soundfile.write(file, voice, rate, subtype=subtype, format="WAV")
        return file.getvalue()
