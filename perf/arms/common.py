"""Requests that both arms take, where the baseline does not take the candidate's. The arms are asked, not compared."""

import json
from collections.abc import Iterator, Sequence

from perf.arms.arm import Arm
from perf.locustfile import bodies_of

MOST = 200  # requests; each is tried on both arms


def common(candidate: Arm, baseline: Arm, bodies: Sequence[bytes]) -> tuple[list[bytes], str]:
    """Requests that both arms answer, and whose they are; none where there are no such."""
    for found, whose in _offers(bodies, bodies_of(baseline.recorded())):
        if found and all(arm.predict(body)[0] == 200 for body in found for arm in (candidate, baseline)):
            return found, whose
    return [], ""


def _offers(ours: Sequence[bytes], theirs: Sequence[bytes]) -> Iterator[tuple[list[bytes], str]]:
    yield list(theirs[:MOST]), "the baseline's own requests"
    records = [json.loads(body)["instances"][0] for body in [*ours[:MOST], *theirs[:MOST]]]
    if all(isinstance(record, dict) for record in records):
        fields = set.intersection(*map(set, records))
        reduced = [{name: record[name] for name in record if name in fields} for record in records[: len(ours[:MOST])]]
        if fields:
            yield [json.dumps({"instances": [record]}).encode() for record in reduced], "the fields that both know"
