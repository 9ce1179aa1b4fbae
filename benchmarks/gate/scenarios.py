"""What is recorded: the same code in both arms, and candidates with faults."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".cache" / "gate"
SAME = "same"
# Share of a plain round's p95 that a prediction burns. p95 under load rises by more: the tables say by how much.
BURNS = {
    "burn-2": 0.02,
    "burn-5": 0.05,
    "burn-7.5": 0.075,
    "burn-10": 0.10,
    "burn-11": 0.11,
    "burn-15": 0.15,
    "burn-20": 0.20,
    "burn-25": 0.25,
    "burn-30": 0.30,
}
# How often each comes up in a turn: rare verdicts take many runs to see.
WEIGHTS = {SAME: 14, "burn-7.5": 5, "burn-11": 5, "burn-2": 1, "burn-5": 1, "burn-15": 1, "burn-25": 1}
WEIGHTS |= {"tail": 1, "lock": 1, "leak": 1, "errors": 1, "slow-start": 1}


def scenarios(p95_ms: float) -> dict[str, dict[str, str]]:
    """The candidate's faults in each scenario, for a service whose p95 is as given."""
    fault = "MLOPS_FAULT_"
    found: dict[str, dict[str, str]] = {SAME: {}}
    found |= {name: {f"{fault}BURN_MS": f"{share * p95_ms:.4f}"} for name, share in BURNS.items()}
    found["tail"] = {f"{fault}TAIL_MS": f"{p95_ms:.4f}", f"{fault}TAIL_SHARE": "0.08"}
    found["lock"] = {f"{fault}LOCK_MS": f"{0.3 * p95_ms:.4f}"}
    found["leak"] = {f"{fault}LEAK_KB": "50"}
    found["errors"] = {f"{fault}ERROR_SHARE": "0.01"}
    found["slow-start"] = {f"{fault}START_SECONDS": "12"}
    return found
