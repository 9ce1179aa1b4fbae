"""GitHub's own parser and evaluator, and with them a workflow as GitHub would start it: which jobs run, with what.

What it takes for granted: https://docs.github.com/en/actions/reference/workflows-and-actions/expressions, of which the
rule that a job without a status function is skipped where any job before it did not succeed, however far before.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.template.npm import install

HERE = Path(__file__).parent
STATUS = re.compile(r"\b(always|success|failure|cancelled)\s*\(")
INSIDE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


class Invalid(ValueError):
    """GitHub would refuse the expression; the message is its own."""


@dataclass
class Parser:
    """A running workflows.mjs."""

    process: "subprocess.Popen[str]"

    def ask(self, **question: object) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline())
        if "error" in found:
            raise Invalid(found["error"])
        return found["answer"]

    def complaints(self, file: Path) -> list[str]:
        return [f"line {each['line']}: {each['message']}" for each in self.ask(validate=str(file.absolute()))]

    def evaluate(self, text: str, contexts: Mapping[str, object], status: str = "success") -> Any:
        return self.ask(evaluate=text, contexts=contexts, status=status)

    def filled_in(self, text: object, contexts: Mapping[str, object]) -> Any:
        """A value of a workflow with its expressions replaced: one alone keeps its type."""
        if not isinstance(text, str):
            return text
        if len(INSIDE.findall(text)) == 1 and (whole := INSIDE.fullmatch(text.strip())):
            return self.evaluate(whole[1].strip(), contexts)
        return INSIDE.sub(lambda found: str(self.evaluate(found[1].strip(), contexts)), text)


@contextmanager
def parser(cache: Path) -> Iterator[Parser]:
    """The parser, installed by its lock into `cache` where it is not there yet. Needs node and npm."""
    install(HERE, cache)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(["node", "--no-warnings", "workflows.mjs"], cwd=cache, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield Parser(process)
        finally:
            process.terminate()


@dataclass
class Started:
    """A workflow that an event has started."""

    parser: Parser
    workflow: dict[Any, Any]
    contexts: dict[str, Any]
    outcomes: Mapping[str, str]  # how a job ends that runs; "success" where it is not named
    outputs: Mapping[str, Mapping[str, str]]  # and what it gives out
    results: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        found = {
            key: self.parser.filled_in(value, self.contexts) for key, value in self.workflow.get("env", {}).items()
        }
        return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in found.items()}

    def jobs(self) -> dict[str, str]:
        """The result of each job, in the order in which they stand."""
        for name, job in self.workflow["jobs"].items():
            self.results[name] = self.outcomes.get(name, "success") if self._runs(job) else "skipped"
        return self.results

    def ran(self) -> list[str]:
        return [name for name, result in self.jobs().items() if result != "skipped"]

    def within(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The contexts in a job."""
        needs = {
            name: {
                "result": self.results[name],
                "outputs": dict(self.outputs.get(name, {})) if self._succeeded(name) else {},
            }
            for name in self._needs(job)
        }
        return self.contexts | {"needs": needs, "env": self.env}

    def _succeeded(self, name: str) -> bool:
        return self.results[name] == "success"

    def _needs(self, job: Mapping[str, Any]) -> list[str]:
        needs = job.get("needs", [])
        return [needs] if isinstance(needs, str) else list(needs)

    def _before(self, job: Mapping[str, Any]) -> set[str]:
        direct = set(self._needs(job))
        return direct.union(*(self._before(self.workflow["jobs"][name]) for name in direct))

    def _runs(self, job: Mapping[str, Any]) -> bool:
        text = str(job.get("if", "success()")).strip()
        text = whole[1].strip() if (whole := INSIDE.fullmatch(text)) else text
        before = [self.results[name] for name in self._before(job)]
        failed = "failure" if "failure" in before else "success" if set(before) <= {"success"} else "skipped"
        contexts = {
            key: value for key, value in self.within(job).items() if key in ("github", "needs", "vars", "inputs")
        }
        if not STATUS.search(text):
            text = f"success() && ({text})"
        return bool(self.parser.evaluate(text, contexts, "cancelled" if "cancelled" in before else failed))


def start(
    parser: Parser,
    file: Path,
    github: Mapping[str, Any],
    variables: Mapping[str, str] = {},
    secrets: Mapping[str, str] = {},
    inputs: Mapping[str, Any] = {},
    outcomes: Mapping[str, str] = {},
    outputs: Mapping[str, Mapping[str, str]] = {},
) -> Started:
    """`github`: what GitHub hands over in that context; the others likewise."""
    contexts = {"github": dict(github), "vars": dict(variables), "inputs": dict(inputs)}
    contexts["secrets"] = {"GITHUB_TOKEN": "token"} | dict(secrets)
    return Started(parser, yaml.safe_load(file.read_text()), contexts, outcomes, outputs)
