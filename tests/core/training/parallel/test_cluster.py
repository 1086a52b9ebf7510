"""Who trains together: TF_CONFIG, and Slurm's variables."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bccli.core.errors import UsageError
from bccli.core.training.parallel.cluster import Cluster, cluster_here, nodes_of

TWO = {"worker": ["a:1", "b:2"]}


def told(cluster: Any, kind: str = "worker", index: Any = 0) -> dict[str, str]:
    """An environment with TF_CONFIG."""
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def test_tf_config_names_the_workers_and_this_one() -> None:
    assert cluster_here(told(TWO, index=1)) == Cluster(("a:1", "b:2"), 1)
    assert cluster_here(told(TWO, index="1")) == Cluster(("a:1", "b:2"), 1)
    assert not cluster_here(told(TWO, index=1)).leads
    assert cluster_here(told(TWO, index=1)).port == 2


def test_addresses_of_ipv6_are_in_brackets() -> None:
    assert cluster_here(told({"worker": ["[::1]:4000", "b:2"]})).port == 4000


def test_a_chief_comes_first() -> None:
    with_chief = {"chief": ["c:3"], **TWO}
    assert cluster_here(told(with_chief, "chief")) == Cluster(("c:3", "a:1", "b:2"), 0)
    assert cluster_here(told(with_chief, "worker", 0)) == Cluster(("c:3", "a:1", "b:2"), 1)


WRONG = [
    ({"TF_CONFIG": "{"}, "TF_CONFIG: cannot be read; it is like {"),
    ({"TF_CONFIG": "[]"}, "TF_CONFIG: cannot be read"),
    ({"TF_CONFIG": "{}"}, "TF_CONFIG: cannot be read"),
    (told({"worker": "a:1"}), "TF_CONFIG: cannot be read"),
    (told({"worker": ["a"]}), "TF_CONFIG: cannot be read"),
    (told({"worker": ["a:70000"]}), "TF_CONFIG: cannot be read"),
    (told({"worker": ["::1:4000", "b:2"]}), "TF_CONFIG: cannot be read"),
    ({"SLURM_STEP_NODELIST": "a,b"}, "no cluster is here"),
    (told(TWO, index=None), "TF_CONFIG: cannot be read"),
    (told(TWO, index=2), "TF_CONFIG: is for worker 2, and names 2; count from 0"),
    (told(TWO, index=-1), "TF_CONFIG: is for worker -1, and names 2; count from 0"),
    (told(TWO, "ps"), "TF_CONFIG: a task of type ps does not train"),
    (told({"worker": ["a:1", "a:1"]}), "TF_CONFIG: names a:1 twice"),
    ({}, "no cluster is here; start the same command on each node by srun"),
    ({"TF_CONFIG": "  "}, "no cluster is here"),
]


@pytest.mark.parametrize(("environment", "sentence"), WRONG)
def test_what_cannot_be_is_said(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        cluster_here(environment)
    assert sentence in str(caught.value)


def step(nodes: str, tasks: int, job: int = 7, process: int = 0) -> dict[str, str]:
    """The environment of a task of Slurm's."""
    return {
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_NUM_TASKS": f"{tasks}",
        "SLURM_JOB_ID": f"{job}",
        "SLURM_PROCID": f"{process}",
    }


def test_slurm_names_nodes_and_the_job_gives_ports() -> None:
    found = cluster_here(step("gpu[08-10]", 3, process=2), lambda node: f"{node}.cluster")
    first = 12000 + 7 * 5 * 64
    names = "gpu08", "gpu09", "gpu10"
    assert found == Cluster(tuple(f"{n}.cluster:{first + i}" for i, n in enumerate(names)), 2)
    second = {**step("gpu[08-10]", 3), "SLURM_STEP_ID": "1"}
    for environment in (step("gpu[08-10]", 3, job=8), second):
        other = cluster_here(environment, lambda node: f"{node}.cluster")
        assert {*other.workers}.isdisjoint(found.workers)
        assert all(12000 <= int(each.split(":")[1]) < 32768 for each in other.workers)


def test_several_tasks_on_a_node_are_refused() -> None:
    with pytest.raises(UsageError, match=r"has 4 tasks on 2 nodes.*--ntasks-per-node=1"):
        cluster_here(step("a,b", 4), lambda node: node)


LISTS = {
    "n1": ["n1"],
    "n1,n2": ["n1", "n2"],
    "n[1-3]": ["n1", "n2", "n3"],
    "gpu[01-03,7],login": ["gpu01", "gpu02", "gpu03", "gpu7", "login"],
    "r[1-2]n[098-101]": [f"r{rack}n{node}" for rack in (1, 2) for node in ("098", "099", "100", "101")],
    "a-b[2].x": ["a-b2.x"],
}


@pytest.mark.parametrize("text", LISTS)
def test_lists_of_nodes(text: str) -> None:
    assert list(nodes_of(text)) == LISTS[text]


@given(some.lists(some.integers(0, 9999), min_size=1, max_size=20), some.integers(1, 5))
def test_every_number_of_a_list_is_a_node(numbers: list[int], width: int) -> None:
    text = f"n[{','.join(f'{number:0{width}}' for number in numbers)}]"
    assert list(nodes_of(text)) == [f"n{number:0{width}}" for number in numbers]
