"""serving.cpu: the quota of a container, as the kernel writes it."""

from pathlib import Path

import pytest

from serving import cpu


@pytest.fixture(autouse=True)
def _eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


V1 = "12:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        # version 2, in a container: its own group is what is mounted
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "3200000 100000\n"}, 8),
        # version 2, on a host: a slice above may be tighter than the group itself
        (
            {
                "proc/self/cgroup": "0::/a.slice/b.scope\n",
                "sys/fs/cgroup/a.slice/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/a.slice/b.scope/cpu.max": "max 100000\n",
            },
            3,
        ),
        # version 1, in a container: the path is the host's, the mount is the container's
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/docker/ab/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu/docker/ab/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
    ],
)
def test_the_quota_is_found(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    """Both versions of control groups, with and without a limit; never more than the affinity mask, never 0."""
    assert cpu.available(tree(tmp_path, files)) == expected
