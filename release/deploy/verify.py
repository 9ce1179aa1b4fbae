"""Asks a URL whether it serves a version as it should.

    python -m release.deploy.verify URL --version FOLDER [--image IMAGE] [--real]

FOLDER has what serves the version: serving/, src/ and bundle/. GET /model has to name it, time after time; a short load
has to keep p95_ms and max_error_rate; and the recorded requests have to get the bundle's own answers.

Prints what was seen, and as the last line that as JSON (`Checked`). A program of its own, because Locust changes how a
process waits. Exit code 0: so it is; 1: it is not; 3: could not be seen.
"""

# isort: skip_file
from perf.load import Schedule, run_pairs  # first: it patches the standard library

import argparse
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import requests
from prometheus_client.parser import text_string_to_metric_families
from scipy.stats import binomtest

from perf.locustfile import HEADERS, bodies_of
from perf.rule.wording import amount
from pipeline import bundle as bundles
from pipeline import command
from pipeline.bundle import REQUESTS, BundleError
from pipeline.schema import Perf
from pipeline.settings import SettingsError, load_settings
from release.deploy.target import Checked

IN_A_ROW = 10  # answers of /model, each on a connection of its own: behind a URL is more than one process
NAMED_SECONDS = 90.0  # for that: what balances the load may learn late of what is behind it
TIMEOUT = 10.0  # seconds for one request
RECORDED = 200  # requests of the bundle that are compared
SAME = 1e-6  # of another kind of CPU, the last digits differ
LOAD = Schedule(rate=20.0, users=2, warmup=1.0, seconds=15.0)
LOADS = 4  # at most, where it cannot be told after fewer
SLOWEST = 0.05  # share of the requests that may take longer than p95_ms
PROBES = ("/livez", "/readyz", "/metrics", "/model")
SURELY = 0.01  # chance of calling a share too high that is not


class Unverified(Exception):
    """The URL does not serve the version as it should; the message says what was seen."""


def named(url: str, wanted: Mapping[str, str]) -> None:
    """Whether GET /model names the version, time after time. Raises Unverified."""
    until, row, seen = time.monotonic() + NAMED_SECONDS, 0, "nothing"
    while row < IN_A_ROW:
        try:
            reply = requests.get(f"{url}/model", headers={"Connection": "close"}, timeout=TIMEOUT)
            card = reply.json() if reply.ok else {}
            said = {key: str(card.get(key, "")) for key in wanted}
            said["image"] = said["image"] or wanted["image"]  # a service of an earlier release does not say
            seen = _listed(said) if reply.ok else f"status {reply.status_code}"
            row = row + 1 if said == wanted else 0
        except (requests.RequestException, ValueError) as error:
            row, seen = 0, f"no answer that can be read ({type(error).__name__})"
        if not row:
            if time.monotonic() > until:
                raise Unverified(f"GET /model says {seen}, not {_listed(wanted)}")
            time.sleep(0.5)


def answered(url: str, folder: Path) -> str:
    """Whether the recorded requests get the bundle's own answers; a sentence. Raises Unverified."""
    records = [line for line in (folder / "bundle" / REQUESTS).read_bytes().splitlines() if line.strip()][:RECORDED]
    expected = scores(folder, b"\n".join(records))
    digits = 0
    with requests.Session() as session:
        for number, (body, own) in enumerate(zip(bodies_of(b"\n".join(records)), expected, strict=True), 1):
            try:
                reply = session.post(f"{url}/predict", data=body, headers=HEADERS, timeout=TIMEOUT)
                (got,) = reply.json()["predictions"] if reply.status_code == 200 else (reply.text[:200],)
            except (requests.RequestException, ValueError, KeyError) as error:
                raise Unverified(f"recorded request {number} gets no answer ({type(error).__name__})") from None
            if not alike(got, own):
                raise Unverified(f"recorded request {number} gets {got}, and the bundle itself answers {own}")
            digits += got != own
    exactly = f"but for digits of {digits}, beyond the sixth: another kind of CPU" if digits else "to the last digit"
    return f"{len(expected)} recorded requests get the bundle's own answers, {exactly}"


def scores(folder: Path, records: bytes) -> list[Any]:
    """What the code and the bundle in a folder make of records. Raises BundleError."""
    paths = {"PYTHONPATH": f"{folder}{os.pathsep}{folder / 'src'}", "BUNDLE": str(folder / "bundle")}
    done = subprocess.run(
        [sys.executable, "-m", "serving.score"],
        cwd=folder,
        env=os.environ | paths,
        input=records,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise BundleError(f"the bundle's own answers cannot be had: {last[:300]}")
    return [msgspec.json.decode(line) for line in done.stdout.splitlines()]


def alike(one: Any, other: Any) -> bool:
    """Whether two predictions are the same, but for what another CPU may do to a number."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=SAME, abs_tol=SAME)
    return bool(one == other)


def too_many(over: int, count: int, share: float, last: bool) -> bool | None:
    """Whether more than a share of the requests are over a limit; None where more requests have to tell."""
    if over <= share * count:
        return False
    surely = binomtest(over, count, share, alternative="greater").pvalue < SURELY if share else True
    return True if surely or last else None


def loaded(url: str, folder: Path, perf: Perf) -> Checked:
    """Whether a short load keeps p95_ms and max_error_rate. Raises Unverified."""
    bodies = bodies_of((folder / "bundle" / REQUESTS).read_bytes())
    dice, latencies, sent = random.Random(), list[float](), 0  # noqa: S311  orders, not secrets
    for number in range(1, LOADS + 1):
        samples = run_pairs(LOAD, {"service": url}, bodies, dice).samples["service"]
        latencies += samples.latency[samples.ok].tolist()
        sent, last = sent + samples.ok.size, number == LOADS
        failed = sent - len(latencies)
        errors: bool | None = False
        slow: bool | None = False
        if (most := perf.max_error_rate) is not None:
            errors = too_many(failed, sent, most, last)
        if (limit := perf.p95_ms) is not None:
            slow = too_many(sum(each > limit for each in latencies), len(latencies), SLOWEST, last)
        if errors is not None and slow is not None:
            break
    if not latencies:
        raise Unverified(f"of {sent} requests none was answered")
    p95 = float(np.quantile(latencies, 1 - SLOWEST))
    if errors:
        raise Unverified(f"{failed} of {sent} requests failed, and max_error_rate is {perf.max_error_rate:g}")
    if slow:
        raise Unverified(f"p95 is {amount(p95, 'ms')} over {sent} requests, and p95_ms is {perf.p95_ms:g}")
    sentence = f"p95 is {amount(p95, 'ms')} over {sent} requests at {LOAD.rate:g}/s, {failed} failed"
    return Checked(True, sentence, p95)


def fared(url: str, most: float | None) -> str:
    """Whether what it has answered before keeps max_error_rate; a sentence. Raises Unverified."""
    reply = requests.get(f"{url}/metrics", timeout=TIMEOUT)
    samples = [each for family in text_string_to_metric_families(reply.text) for each in family.samples]
    counts = [each for each in samples if each.name == "http_requests_total" and each.labels["route"] not in PROBES]
    total = round(sum(each.value for each in counts))
    failed = round(sum(each.value for each in counts if each.labels["status"].startswith("5")))
    if most is not None and total and too_many(failed, total, most, last=True):
        raise Unverified(f"{failed} of {total} requests of real traffic failed, and max_error_rate is {most:g}")
    return f"{total} requests of real traffic came before that, {failed} failed"


def verify(url: str, folder: Path, image: str, perf: Perf, real: bool) -> Checked:
    """All of it, a line for each step; real: what was answered before counts as well. Raises BundleError."""
    card = bundles.read(folder / "bundle").card
    wanted = {"name": card.name, "version": card.version, "bundle_sha256": card.bundle_sha256, "image": image}
    try:
        named(url, wanted)
        print(f"GET /model names version {card.version}, {IN_A_ROW} times in a row.", flush=True)
        if real:
            print(f"{fared(url, perf.max_error_rate)}.", flush=True)
        checked = loaded(url, folder, perf)
        print(f"{checked.sentence}.", flush=True)
        print(f"{answered(url, folder)}.", flush=True)
    except Unverified as error:
        return Checked(False, str(error))
    return checked


def _listed(card: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value or 'unknown'}" for key, value in card.items() if value)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.deploy.verify", description=__doc__.split("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--version", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--image", default="", help="by digest, as GET /model names it")
    parser.add_argument("--real", action="store_true", help="look at what it has answered before, as well")
    arguments = parser.parse_args(argv)
    try:
        perf, url = load_settings().perf, arguments.url.rstrip("/")
        checked = verify(url, arguments.version, arguments.image, perf, arguments.real)
    except (BundleError, SettingsError, OSError) as error:
        print(f"Cannot verify {arguments.url}: {error}", file=sys.stderr)
        return 3
    print(msgspec.json.encode(checked).decode())
    return 0 if checked.passed else 1


if __name__ == "__main__":
    command.end(main)
