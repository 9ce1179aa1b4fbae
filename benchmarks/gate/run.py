"""How often the gate is wrong: false alarms on the same code, and how much of a real slow-down it catches.

    make bench-gate                    judges the rounds that lie in benchmarks/gate/recorded.npz
    make bench-gate MINUTES=120        records anew for that long first, half of it beside a noisy neighbour

Writes benchmarks/gate.md, benchmarks/gate.png and the sentence of README.md where the rounds are those that lie here;
otherwise the first two, into .cache/gate/.
"""

import argparse
import subprocess
import sys

from rich.console import Console
from rich.markdown import Markdown

from benchmarks import sections
from benchmarks.gate.document import lines, summary, text
from benchmarks.gate.picture import draw
from benchmarks.gate.rates import CONDITIONS, DRAWN, ceilings, find, judged
from benchmarks.gate.recorded import SHIPPED, load, save
from benchmarks.gate.scenarios import FOLDER, ROOT

README = ROOT / "README.md"
COMMAND = "make bench-gate"


def record_anew(minutes: float) -> None:
    for disturbed in ([], ["--disturb"]):
        command = [sys.executable, "-m", "benchmarks.gate.record", "--minutes", str(minutes / 2), *disturbed]
        try:
            if subprocess.run(command, check=False, cwd=ROOT).returncode:
                sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate.run", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=0.0, help="record anew for that long")
    minutes, path, out = parser.parse_args().minutes, SHIPPED, ROOT / "benchmarks"
    if minutes:
        record_anew(minutes)
        path, out = FOLDER / "recorded.npz", FOLDER
        save(FOLDER, path)
    rounds, machine = load(path)
    cases = judged(rounds)
    written = text(rounds, machine, cases, ceilings(rounds))
    (out / "gate.md").write_text(written, encoding="utf-8")
    if not minutes:
        sections.write(README, COMMAND, summary(cases))
    slow = find(cases, "quiet", DRAWN)
    panels = {title: drawn for title in CONDITIONS if (drawn := lines(cases, title))}
    if slow and panels:
        draw(panels, f"p95 slower by {100 * slow.effect[0]:.0f} %", out / "gate.png")
    Console().print(Markdown(written))
    print(f"Written: {out / 'gate.md'}" + (f", {out / 'gate.png'}" if panels else f"; no picture without {DRAWN}"))


if __name__ == "__main__":
    main()
