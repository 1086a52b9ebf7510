"""A Slurm of one's own on this machine: its state in one folder, its ports free ones, its two nodes virtual.

A node claims six cores and 64 GB, as a node of a cluster has, so that the jobs of examples run as they are.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

PROGRAMS = "munged", "slurmctld", "slurmd", "sbatch"
NODES = "n1", "n2"
PATIENCE = 1200
"""After so many seconds without the event that is waited for, a test gives up."""

_START = 120
"""So many seconds have the daemons."""

_DAEMONS = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
_ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY"}

_CONF = """\
ClusterName=tests
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=5
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=20
MinJobAge=86400
NodeName=n1 NodeHostname=localhost Port={ports[1]} CPUs=6 RealMemory=64000
NodeName=n2 NodeHostname=localhost Port={ports[2]} CPUs=6 RealMemory=64000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
PartitionName=urgent Nodes=n1,n2 PriorityTier=9 MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why no Slurm can be started here; empty where one can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_DAEMONS) is None]
    if missing:
        return f"no {', '.join(missing)} here (Debian has them in slurm-wlm and munge)"
    return "" if os.geteuid() == 0 else "only root may start slurmd"


class Cluster:
    """A running Slurm; jobs run in `place`, with `environment` on top of this process's."""

    def __init__(self, folder: Path, place: Path, environment: dict[str, str]) -> None:
        self.folder, self.place = folder, place
        self.environment = {**_without_slurm(os.environ), **environment, "SLURM_CONF": f"{folder}/slurm.conf"}

    def at(self, place: Path) -> "Cluster":
        """The same Slurm, whose jobs run in another folder; it may be given other variables."""
        return Cluster(self.folder, place, self.environment)

    def run(self, *command: object, check: bool = True) -> str:
        """The output of a command of Slurm's, or of one that calls some."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.place, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, *command: object) -> str:
        """The number of a job that `sbatch` takes."""
        return self.run("sbatch", "--parsable", *command).strip()

    def tasks(self, job: str) -> list[dict[str, str]]:
        """The fields of each task of a job, or of the job itself where it is no array."""
        lines = self.run("scontrol", "show", "job", "--oneliner", job).splitlines()
        return [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in lines if line]

    def states(self, job: str) -> list[str]:
        """The states of a job's tasks."""
        return [task["JobState"] for task in self.tasks(job)]

    def wait_for(self, ready: Callable[[], object], what: str, *, patience: float = PATIENCE) -> None:
        """Wait for an event."""
        limit = time.monotonic() + patience
        while not ready():
            if time.monotonic() > limit:
                raise AssertionError(f"waited for {what}\n{self.run('squeue', check=False)}\n{self.logs()}")
            time.sleep(0.2)

    def end(self, *jobs: str) -> None:
        """Wait until jobs have ended; those that are put into the queue again go on at once."""

        def ended() -> bool:
            self.hurry()
            return all(state in _ENDED for job in jobs for state in self.states(job))

        self.wait_for(ended, f"the end of {', '.join(jobs)}")

    def hurry(self) -> None:
        """Start at once what Slurm would let wait two minutes for having been put into the queue again."""
        for task in self.run("squeue", "-h", "-r", "-t", "PENDING", "-o", "%i %r").splitlines():
            number, reason = task.split(maxsplit=1)
            if reason == "BeginTime":
                self.run("scontrol", "update", f"JobId={number}", "StartTime=now", check=False)

    def codes(self, job: str) -> list[str]:
        """The exit codes of a job's tasks in the order of their numbers, such as 0:0 or 75:0."""
        tasks = sorted(self.tasks(job), key=lambda task: int(task.get("ArrayTaskId", 0)))
        return [task["ExitCode"] for task in tasks]

    def logs(self) -> str:
        """What all jobs have written so far; before there is any, what the daemons have."""
        files = sorted(self.place.rglob("*.log")) or sorted(self.folder.glob("*.log"))
        return "\n".join(f"{path.name}:\n{path.read_text()}" for path in files)


@contextmanager
def running(folder: Path, place: Path, environment: dict[str, str]) -> Iterator[Cluster]:
    """Start a Slurm whose state is in `folder`, and stop it at the end with all of its jobs."""
    cluster = Cluster(folder, place, environment)
    with ExitStack() as stack:
        _configure(folder)
        for name, command in _daemons(folder):
            stack.enter_context(_daemon(cluster, name, command))
        cluster.wait_for(lambda: _idle(cluster) == len(NODES), "idle nodes", patience=_START)
        try:
            yield cluster
        finally:
            _stop_jobs(cluster)


def _configure(folder: Path) -> None:
    for name in ("state", *NODES):
        (folder / name).mkdir(parents=True)
    (folder / "slurm.conf").write_text(_CONF.format(folder=folder, ports=_free_ports(3)))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)


def _daemons(folder: Path) -> Iterator[tuple[str, list[str]]]:
    munge = "key-file=munge.key", "socket=munge.socket", "pid-file=munged.pid", "seed-file=munged.seed"
    paths = [f"--{option.replace('=', f'={folder}/')}" for option in munge]
    yield "munged", ["munged", "--foreground", "--force", *paths]
    yield "slurmctld", ["slurmctld", "-D"]
    for node in NODES:
        yield f"slurmd-{node}", ["slurmd", "-D", "-N", node]


@contextmanager
def _daemon(cluster: Cluster, name: str, command: list[str]) -> Iterator[None]:
    """Run a daemon in the foreground, its own words in a file."""
    with (cluster.folder / f"{name}.out").open("wb") as out:
        program = shutil.which(command[0], path=_DAEMONS) or command[0]
        process = subprocess.Popen(
            [program, *command[1:]],
            env=cluster.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        if name == "munged":
            cluster.wait_for((cluster.folder / "munge.socket").exists, "munged")
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def _stop_jobs(cluster: Cluster) -> None:
    """Cancel what a test has left, and wait until it is gone."""
    cluster.run("scancel", "--user=root", check=False)
    cluster.wait_for(lambda: not cluster.run("squeue", "-h").strip(), "the end of all jobs")


def _idle(cluster: Cluster) -> int:
    return len(cluster.run("sinfo", "-h", "-N", "-p", "main", "-t", "idle", check=False).splitlines())


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


def _without_slurm(environment: os._Environ[str]) -> dict[str, str]:
    """Variables but for those of a job that these tests may run in."""
    return {name: value for name, value in environment.items() if not name.startswith(("SLURM_", "SBATCH_"))}
