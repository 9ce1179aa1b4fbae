"""Who the arms are, and with which requests they can be compared. The arms are asked; no contract is read here."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from perf import verdict
from perf.arms.arm import Arm
from perf.findings import Findings
from perf.locustfile import bodies_of

MOST = 200  # requests of a baseline of another contract; each is tried on both arms


def introduce(arms: Sequence[Arm], bodies: Sequence[bytes], findings: Findings) -> tuple[list[Arm], Sequence[bytes]]:
    """Notes who the arms are; returns those that can be measured, and with what requests.

    Raises ArmError where the candidate rejects what its own bundle recorded. A 5xx is measured instead, and fails.
    """
    candidate, *others = arms
    findings.candidate = describe(candidate)
    status, answer = candidate.predict(bodies[0])
    if 400 <= status < 500:
        raise candidate.error(f"answers {status} to a request of its own bundle: {detail(answer)}")
    for baseline in others:
        findings.baseline = describe(baseline)
        shared, note = compare(candidate, baseline, bodies, findings.baseline.version[:40])
        findings.notes += [note] if note else []
        if shared:
            return [candidate, baseline], shared
        findings.left_out, findings.baseline = findings.baseline, None
        baseline.stop()
    return [candidate], bodies


def compare(candidate: Arm, baseline: Arm, bodies: Sequence[bytes], version: str) -> tuple[Sequence[bytes], str]:
    """The requests that both arms take, none where there are no such, and what a reader has to know of that.

    A baseline of another contract gets requests that both arms take. One that cannot answer is left out.
    """
    status, answer = baseline.predict(bodies[0])
    if status == 200:
        return bodies, ""
    sentence = f"The baseline (version {version}) answers {status or 'nothing'} to the candidate's requests"
    if not 400 <= status < 500:
        return [], f"{sentence}, so it does not work: {detail(answer)} Judged without a baseline."
    shared, whose = common(candidate, baseline, bodies)
    if not shared:
        return [], f"{sentence}, so it takes other records: {detail(answer)} Judged without a baseline."
    return shared, f"{sentence}: {detail(answer)} So both were measured with {whose}."


def common(candidate: Arm, baseline: Arm, bodies: Sequence[bytes]) -> tuple[list[bytes], str]:
    """Requests that both arms answer, and whose they are; none where there are no such."""
    for offer, whose in _offers(bodies, bodies_of(baseline.recorded())):
        if offer and all(arm.predict(body)[0] == 200 for body in offer for arm in (candidate, baseline)):
            return offer, whose
    return [], ""


def _offers(ours: Sequence[bytes], theirs: Sequence[bytes]) -> Iterator[tuple[list[bytes], str]]:
    yield list(theirs[:MOST]), "the baseline's own requests"
    records = [json.loads(body)["instances"][0] for body in [*ours[:MOST], *theirs[:MOST]]]
    if all(isinstance(record, dict) for record in records):
        fields = set.intersection(*map(set, records))
        reduced = [{name: record[name] for name in record if name in fields} for record in records[: len(ours[:MOST])]]
        if fields:
            yield [json.dumps({"instances": [record]}).encode() for record in reduced], "the fields that both know"


def describe(arm: Arm) -> verdict.Arm:
    """Who the arm is, from its model card and from where it was started."""
    card, identity = arm.card(), arm.identity()
    names = ("name", "version", "run_id", "git_sha", "runtime", "bundle_sha256", "code_sha256")
    return verdict.Arm(
        kind=arm.kind,
        source=arm.source[:500],
        faults=[f"{key}={value}"[:500] for key, value in arm.faults().items()],
        **{name: str(card.get(name, ""))[:200] for name in names} | identity,
    )


def detail(answer: str) -> str:
    """What an RFC 9457 problem says, in one line of at most 200 characters."""
    try:
        problem: Any = json.loads(answer)
        text = problem.get("detail") or problem.get("title") or answer
    except (ValueError, AttributeError):
        text = answer
    return " ".join(str(text).split())[:200].rstrip(".") + "."
