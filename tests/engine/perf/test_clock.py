"""The wall clock of the load generator may be set at any time."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.engine.perf.conftest import HERE, ROOT

PROGRAM = """
import json, random, sys, time
from pathlib import Path
from perf import load
from perf.arms.arm import Cpus
from perf.arms.specs import arm
from perf.rule.rounds import figures

asked, dice = [], random.Random(1)
def jumping():
    asked.append(dice.uniform(-1e9, 1e9))
    return 1.8e9 + asked[-1]
time.time = jumping
started = arm(sys.argv[1], "candidate", {"PATH": "/bin"}, Cpus(None, None, 1), Path(sys.argv[2]))
began = time.perf_counter()
try:
    started.start()
    ready = started.ready()
    bodies = [b'{"instances": [{"Term": 1, "State": "CA"}]}']
    load.closed_loop(started.url, bodies, users=1, seconds=0.3)
    schedule = load.Schedule(50.0, 2, 0.2, 1.0)
    sent = load.run_pairs(schedule, {"candidate": started.url}, bodies, dice)
finally:
    started.stop()
samples = sent.samples["candidate"]
print(json.dumps({
    "asked": len(asked), "seconds": time.perf_counter() - began, "ready": ready, "count": samples.latency.size,
    "least": samples.latency.min(), "most": samples.latency.max(), "starts": samples.start.tolist(),
    "late": (samples.start - samples.due).tolist(),
}))
"""


def test_a_wall_clock_that_jumps_changes_no_figure(standin: Path, tmp_path: Path) -> None:
    """Back and forth by decades, each time that somebody looks at it: start, schedule and latencies stay true."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(standin), str(tmp_path)],
        cwd=ROOT,
        env=dict(os.environ) | HERE,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["asked"] > 0  # Locust does look at it, for its own statistics
    assert found["count"] == 50
    assert 0 < found["ready"] < found["seconds"]
    assert 0.5 <= found["least"] <= found["most"] < 1000 * found["seconds"]
    assert all(0 <= start < found["seconds"] for start in found["starts"])
    assert all(late >= 0 for late in found["late"])
