"""What is recorded: the same code in both arms, and candidates with faults."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".cache" / "gate"
SAME = "same"
SLOW = "slow"  # the same code in both arms too, of a service that takes SLOW_MS for a prediction
SLOW_MS = 30.0
# Share of a plain round's p95 that a prediction burns. p95 under load rises by a little more: the tables say how much.
BURNS = {
    "burn-4": 0.04,
    "burn-8": 0.08,
    "burn-8.5": 0.085,
    "burn-9": 0.09,
    "burn-10": 0.10,
    "burn-12": 0.12,
    "burn-16": 0.16,
    "burn-25": 0.25,
}
OTHERS = {
    "tail": "8 % of requests slower by p95 again",
    "lock": "a lock held for 30 % of p95",
    "leak": "50 kB kept of each request",
    "errors": "1 % errors",
    "slow-start": "12 s more to start",
}
# How often each comes up in a turn: rare verdicts take many runs to see.
WEIGHTS = {SAME: 14, SLOW: 6, "burn-8": 3, "burn-8.5": 3, "burn-9": 3, "burn-10": 3, "burn-12": 3} | dict.fromkeys(
    ("burn-4", "burn-16", "burn-25", *OTHERS), 1
)


def scenarios(p95_ms: float) -> dict[str, dict[str, str]]:
    """The candidate's faults in each scenario, for a service whose p95 is as given. Those of SLOW are in both arms."""
    fault = "MLOPS_FAULT_"
    found: dict[str, dict[str, str]] = {SAME: {}, SLOW: {f"{fault}BURN_MS": f"{SLOW_MS:g}"}}
    found |= {name: {f"{fault}BURN_MS": f"{share * p95_ms:.4f}"} for name, share in BURNS.items()}
    found["tail"] = {f"{fault}TAIL_MS": f"{p95_ms:.4f}", f"{fault}TAIL_SHARE": "0.08"}
    found["lock"] = {f"{fault}LOCK_MS": f"{0.3 * p95_ms:.4f}"}
    found["leak"] = {f"{fault}LEAK_KB": "50"}
    found["errors"] = {f"{fault}ERROR_SHARE": "0.01"}
    found["slow-start"] = {f"{fault}START_SECONDS": "12"}
    return found
