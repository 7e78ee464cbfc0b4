"""A batch on a Dask cluster: workers are killed, and the scheduler."""

import io
import os
import signal
import threading

import psutil
import pytest

from signlib.batch import Runner
from signlib.errors import InputError
from signlib.runs import read_state
from signlib.worker import usable_cores
from tests.test_batch import RUN, WRITE, plan, ran

pytestmark = [pytest.mark.dask, pytest.mark.filterwarnings("ignore")]  # Dask's own
THREADS = "import os\nstate['threads'] = os.environ['OMP_NUM_THREADS']\n"
WAIT = """
import time
if not (folder / "first").exists():
    (folder / "first").write_text("")
    (folder / "run.json").write_text(json.dumps(state | {"status": "running"}))
    time.sleep(100)
"""


@pytest.fixture
def cluster():
    """A Dask cluster of two workers on this machine, and its client."""
    from distributed import Client, LocalCluster

    with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        yield cluster, client


def started(made, address):
    """A thread that runs a batch, and the list that receives what came out."""
    found = []

    def run():
        try:
            found.append(made.run(dask=address, out=io.StringIO()))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def test_runs_are_done_on_the_workers_which_share_the_machine(notebook, tmp_path, cluster):
    address, folder = cluster[0].scheduler_address, tmp_path / "mine"
    made = Runner(plan(0, 1, 2), folder, notebook(RUN + THREADS + WRITE))
    assert made.run(dask=address, out=io.StringIO()) == 0 and ran(folder) == ["0", "1", "2"]
    assert {read_state(folder / name)["threads"] for name in made.origins} == {str(max(1, usable_cores() // 2))}
    left = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    assert not [line for line in left if "signlib.worker" in line]
    assert made.run(dask=address, out=io.StringIO()) == 0 and ran(folder) == ["0", "1", "2"]


def test_a_run_whose_worker_is_killed_is_given_to_another_and_nothing_is_left(notebook, tmp_path, cluster, until):
    folder = tmp_path / "mine"
    made = Runner(plan(0, 1), folder, notebook(RUN + WAIT + WRITE))
    thread, found = started(made, cluster[0].scheduler_address)
    until(lambda: len(list(folder.glob("*/first"))) == 2)
    before = [child for child in psutil.Process().children(recursive=True) if "signlib.worker" in child.cmdline()]
    for pid in cluster[1].run(os.getpid).values():
        os.kill(pid, signal.SIGKILL)
    thread.join()
    assert found == [0] and psutil.wait_procs(before, timeout=60)[1] == [] and len(before) == 4
    assert ran(folder) == ["0", "0", "1", "1"] and not (folder / "outdated").exists()


def test_a_scheduler_that_is_gone_ends_the_batch_and_its_runs(notebook, tmp_path, cluster, until):
    folder = tmp_path / "mine"
    thread, found = started(Runner(plan(0), folder, notebook(RUN + WAIT + WRITE)), cluster[0].scheduler_address)
    until(lambda: list(folder.glob("*/first")))
    runs = [child for child in psutil.Process().children(recursive=True) if "signlib.worker" in child.cmdline()]
    cluster[1].close()
    cluster[0].close()
    thread.join()
    assert isinstance(found[0], ConnectionError) and "scheduler of the cluster is gone" in str(found[0])
    assert psutil.wait_procs(runs, timeout=60)[1] == []


def test_a_cluster_of_its_own_and_one_that_is_not_there(notebook, tmp_path):
    made = Runner(plan(0), tmp_path / "mine", notebook(RUN + WRITE))
    with pytest.raises(InputError, match="no scheduler at nowhere"):
        made.run(dask="nowhere", out=io.StringIO())
    assert made.run(dask="local:1", out=io.StringIO()) == 0
    assert ran(made.folder) == ["0"]
