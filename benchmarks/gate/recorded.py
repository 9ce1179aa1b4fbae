"""The recorded rounds in compact form: each arm's figures, and its requests as a histogram.

    python -m benchmarks.gate.recorded        adds what .cache/gate/ holds to benchmarks/gate/recorded.npz

A figure keeps four digits. A histogram has bins 5 % wide, from 0.1 ms to 1 s, so what others make of raw requests can
be worked out from it, too. Whether a round counts is not kept: perf/rule/rounds.py says it again, as it is now.
"""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZIP_BZIP2, ZipFile

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.gate.scenarios import FOLDER
from perf.conclude import cpu_name
from perf.rule.rounds import disturbance, share
from perf.verdict import Figures, Round

SHIPPED = Path(__file__).with_name("recorded.npz")
ARMS = ("candidate", "baseline")
FIELDS = Figures.__struct_fields__
COUNTS = {"intended", "count", "errors"}
OF_ROUND = ("client_cpu", "steal", "others")  # shares of CPU that the round as a whole has
EDGES = np.geomspace(0.1, 1000.0, 190)  # ms
BUSY = 0.05  # share of the CPU that the host gave to others, from which a minute is not quiet


class Recorded(NamedTuple):
    """One round, with what it was recorded for."""

    condition: str  # quiet, stolen CPU or disturbed
    scenario: str
    at: float  # s since the epoch
    round: Round
    requests: NDArray[np.uint16]  # (arms, bins)


def compact(folder: Path) -> dict[str, NDArray[Any]]:
    """All rounds in a folder of recordings, in order of time, as columns."""
    files = sorted(folder.glob("*/*/*.npz"), key=lambda path: int(path.stem))
    figures = np.full((len(files), len(ARMS), len(FIELDS)), np.nan, np.float32)
    requests = np.zeros((len(files), len(ARMS), len(EDGES) - 1), np.uint16)
    others = np.zeros((len(files), len(OF_ROUND)), np.float32)
    for n, path in enumerate(track(files, "Reading", disable=not sys.stdout.isatty())):
        with np.load(path) as kept:
            found = msgspec.json.decode(kept["round"].tobytes(), type=Round)
            for a, arm in enumerate(ARMS):
                figures[n, a] = _row(getattr(found, arm), FIELDS)
                requests[n, a] = np.histogram(kept[f"{arm}_latency"][kept[f"{arm}_ok"]], EDGES)[0]
        others[n] = _row(found, OF_ROUND)
    return {
        "fields": np.array(FIELDS),
        "condition": np.array([path.parent.parent.name for path in files]),
        "scenario": np.array([path.parent.name for path in files]),
        "at": np.array([int(path.stem) / 1e9 for path in files]),
        "figures": _coarse(figures),
        "others": _coarse(others),
        "requests": requests,
        "machine": np.array(machine()),
    }


def _row(of: Figures | Round, names: Sequence[str]) -> list[float]:
    return [np.nan if (value := getattr(of, name)) is None else value for name in names]


def _coarse(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """With 13 bits of the 23 after the point: four digits, and less to store."""
    bits = values.view(np.uint32) + np.uint32(1 << 9)
    return (bits & np.uint32(0xFFFFFC00)).view(np.float32)


def expand(columns: Mapping[str, NDArray[Any]]) -> list[Recorded]:
    """Rounds as the gate's judge takes them, and the condition as the host made it, whatever it was recorded as."""
    found = []
    conditions = _conditions(columns["condition"], columns["at"], columns["others"][:, 1])
    figures = _in_order(columns["figures"], list(columns["fields"]))
    kept = (columns[name] for name in ("scenario", "at", "others", "requests"))
    rows = zip(conditions, figures, *kept, strict=True)
    for number, (condition, of_arms, scenario, at, others, requests) in enumerate(rows):
        arms = [
            Figures(**{name: _value(name, value) for name, value in zip(FIELDS, of, strict=True)}) for of in of_arms
        ]
        client_cpu, steal, by_others = (None if np.isnan(value) else float(value) for value in others)
        waited = ((of.mean or 0.0) * (of.count - of.errors) for of in arms)  # as perf.rule.rounds.blame, but for errors
        measured = Round(
            number=number,
            candidate=arms[0],
            baseline=arms[1],
            client_cpu=client_cpu or 0.0,
            steal=steal,
            others=by_others,
            dropped=disturbance(arms[0], arms[1], client_cpu or 0.0, steal, share(*waited)),
        )
        found.append(Recorded(condition, str(scenario), float(at), measured, requests))
    return found


def _in_order(figures: NDArray[np.float32], fields: Sequence[str]) -> NDArray[np.float32]:
    """Columns in the order of FIELDS; what was not recorded yet, of older rounds, is not a number."""
    unknown = np.full(figures.shape[:2], np.nan, np.float32)
    return np.stack([figures[..., fields.index(name)] if name in fields else unknown for name in FIELDS], axis=-1)


def _conditions(recorded: NDArray[np.str_], at: NDArray[np.float64], steal: NDArray[np.float32]) -> list[str]:
    """Quiet minutes in whose median round the host gave more than BUSY to others are not quiet."""
    minutes = (at // 60).astype(int)
    median = {minute: np.median(np.nan_to_num(steal[minutes == minute])) for minute in np.unique(minutes)}
    return [
        "stolen CPU" if of == "quiet" and median[minute] > BUSY else str(of)
        for of, minute in zip(recorded, minutes, strict=True)
    ]


def _value(name: str, value: np.float32) -> float | int | None:
    return None if np.isnan(value) else round(float(value)) if name in COUNTS else float(value)


def load(path: Path = SHIPPED) -> tuple[list[Recorded], str]:
    """The rounds of a compact file, and the machine. Raises OSError where it is not there."""
    with np.load(path) as columns:
        return expand(columns), str(columns["machine"])


def joined(before: Mapping[str, NDArray[Any]], more: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Rounds of two recordings in order of time, those in both once. Raises ValueError where the machines differ."""
    if before["machine"] != more["machine"]:
        raise ValueError(f"it holds those of another machine, {before['machine']}")
    new = ~np.isin(more["at"], before["at"])
    at = np.concatenate([before["at"], more["at"][new]])
    order = np.argsort(at)
    figures = [_in_order(of["figures"], list(of["fields"])) for of in (before, more)]
    columns = {
        name: np.concatenate([before[name], more[name][new]])[order]
        for name in ("condition", "scenario", "at", "others", "requests")
    }
    columns["figures"] = np.concatenate([figures[0], figures[1][new]])[order]
    return columns | {"fields": np.array(FIELDS), "machine": before["machine"]}


def machine() -> str:
    """What was measured on."""
    return f"{cpu_name()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"


def save(folder: Path, path: Path) -> None:
    """Adds a folder of recordings to a compact file, or makes one. Exits where there is none, or they do not fit."""
    columns = compact(folder)
    if not columns["at"].size:
        sys.exit(f"{folder} holds no round: python -m benchmarks.gate.record")
    if path.is_file():
        with np.load(path) as before:
            try:
                columns = joined(before, columns)
            except ValueError as error:
                sys.exit(f"{path} cannot take these rounds: {error}. Delete it to begin anew.")
    pack(path, columns)
    print(f"{columns['at'].size:,} rounds in {path}, {path.stat().st_size / 1e3:,.0f} kB.")


def pack(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Columns as numpy.load reads them. numpy's own way has deflate alone, and takes half as much again."""
    with ZipFile(path, "w", ZIP_BZIP2) as archive:
        for name, column in columns.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, column, allow_pickle=False)


def main() -> None:
    save(FOLDER, SHIPPED)


if __name__ == "__main__":
    main()
