"""Which processes train one network together: those that TF_CONFIG names, or the tasks of a Slurm step.

TF_CONFIG is TensorFlow's own variable, a JSON object with the addresses of all workers and the number of this
one. Where there is none, Slurm's variables say on which nodes the tasks of a step run, and the number of the
job gives them ports.
"""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bccli.core.errors import UsageError

_FIRST_PORT, _PORTS, _PORTS_OF_STEP, _STEPS_OF_JOB = 12000, 20000, 64, 5
"""Ports below those that systems give to outgoing connections, so many of them for a step of a job, and for
so many steps before the next job's begin."""

_OUTSIDE = (
    "--strategy multiworker: no cluster is here; start the same command on each node by srun, as "
    "examples/slurm/two-nodes.sbatch does, or set TF_CONFIG for each"
)


@dataclass(frozen=True)
class Cluster:
    """The `workers`, each a host:port, of which this process is that with number `index`.

    The first one leads: it alone writes the run.
    """

    workers: tuple[str, ...]
    index: int

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes the run."""
        return self.index == 0

    @property
    def port(self) -> int:
        """The port at which the others find this process."""
        return int(self.workers[self.index].rpartition(":")[2])


def cluster_here(environment: Mapping[str, str], address: Callable[[str], str] | None = None) -> Cluster:
    """The cluster that the environment's variables describe; `address` gives that of a node of Slurm's.

    Raises UsageError where they describe none, or one that cannot be.
    """
    if text := environment.get("TF_CONFIG", "").strip():
        return _from_tf_config(text)
    if {"SLURM_STEP_NODELIST", "SLURM_JOB_ID", "SLURM_PROCID"} <= environment.keys():
        return _from_slurm(environment, address or node_address)
    raise UsageError(_OUTSIDE)


def _from_tf_config(text: str) -> Cluster:
    try:
        found = json.loads(text)
        jobs, task = found["cluster"], found["task"]
        chiefs, workers = _addresses(jobs.get("chief", [])), _addresses(jobs.get("worker", []))
        kind, index = str(task["type"]), int(task["index"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(
            'TF_CONFIG: cannot be read; it is like {"cluster": {"worker": ["node1:2222", "node2:2222"]}, '
            '"task": {"type": "worker", "index": 0}}'
        ) from None
    known = {"chief": chiefs, "worker": workers}
    if kind not in known:
        raise UsageError(f"TF_CONFIG: a task of type {kind} does not train; name it worker, or chief")
    if not 0 <= index < len(known[kind]):
        raise UsageError(f"TF_CONFIG: is for {kind} {index}, and names {len(known[kind])}; count from 0")
    both = *chiefs, *workers
    if twice := [one for one in both if both.count(one) > 1]:
        raise UsageError(f"TF_CONFIG: names {twice[0]} twice; each worker has a port of its own")
    return Cluster(both, index + (len(chiefs) if kind == "worker" else 0))


def _addresses(found: Any) -> tuple[str, ...]:
    """The addresses of a job. Raises ValueError for what is none."""
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError("addresses are a list")
    for one in found:
        match = re.fullmatch(r"([^:\[\]]+|\[.+\]):(\d{1,5})", one)
        if not match or not 0 < int(match[2]) < 1 << 16:
            raise ValueError(f"{one} is no host:port")
    return tuple(found)


def _from_slurm(environment: Mapping[str, str], address: Callable[[str], str]) -> Cluster:
    nodes = list(nodes_of(environment["SLURM_STEP_NODELIST"]))
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS") or 0)
    if tasks != len(nodes):
        raise UsageError(
            f"--strategy multiworker: Slurm's step has {tasks} tasks on {len(nodes)} nodes; one task takes "
            "all GPUs of its node: add --ntasks-per-node=1 to srun or sbatch"
        )
    job, step = int(environment["SLURM_JOB_ID"]), int(environment.get("SLURM_STEP_ID", 0))
    first = _FIRST_PORT + (job * _STEPS_OF_JOB + step) * _PORTS_OF_STEP % _PORTS
    hosts = [address(node) for node in nodes]
    workers = tuple(f"{host}:{first + index % _PORTS_OF_STEP}" for index, host in enumerate(hosts))
    return Cluster(workers, int(environment["SLURM_PROCID"]))


def nodes_of(text: str) -> Iterator[str]:
    """The nodes of a list as Slurm writes it, such as gpu[01-03,7],login."""
    for part in re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", text):
        yield from _expanded(part)


def _expanded(part: str) -> Iterator[str]:
    if not (match := re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", part)):
        yield part
        return
    for piece in match[2].split(","):
        first, _, last = piece.partition("-")
        for number in range(int(first), int(last or first) + 1):
            for rest in _expanded(match[3]):
                yield f"{match[1]}{number:0{len(first)}}{rest}"


def node_address(node: str) -> str:
    """Where a node of Slurm's is found: by its name or, where no such host is known, as Slurm says."""
    try:
        socket.getaddrinfo(node, None)
        return node
    except OSError:
        pass
    if shutil.which("scontrol"):
        command = ["scontrol", "show", "node", "--oneliner", node]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        if match := re.search(r"\bNodeAddr=(\S+)", said):
            return match[1]
    return node
