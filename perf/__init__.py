"""Load test and performance gate: two arms side by side, rounds, a verdict."""
