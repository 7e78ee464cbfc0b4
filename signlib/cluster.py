"""The runs of a batch on a Dask cluster: `cluster`."""

import contextlib
import os

from signlib.errors import InputError
from signlib.worker import end_workers, run_in_process, share, usable_cores

TIMEOUT = 30  # seconds to wait for the scheduler


@contextlib.contextmanager
def cluster(address):
    """Yields `submit(job)`, which returns a Future of the exit status of `worker.run_in_process`, on a worker of the cluster
    whose scheduler is at `address`; a worker does as many jobs at once as it has threads. "local:N" starts a cluster of N
    workers on this machine. Raises InputError where there is none, and `submit` ConnectionError where it is gone."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise InputError("Dask is not installed, which --dask needs: pip install -e '.[train,dask]'") from None
    with contextlib.ExitStack() as stack:
        number = workers_of(address)
        if number:
            address = stack.enter_context(LocalCluster(number, threads_per_worker=1, dashboard_address=None))
        try:
            client = stack.enter_context(Client(address, timeout=TIMEOUT))
        except (OSError, ValueError) as error:
            raise InputError(
                f"--dask: no scheduler at {address} ({str(error) or type(error).__name__}); start one first"
            ) from None
        executor = client.get_executor(pure=False)

        def submit(job):
            try:
                return executor.submit(_on_worker, job, dict(client.nthreads()))
            except Exception as error:  # whatever a client that lost its scheduler raises
                raise ConnectionError(f"the scheduler of the cluster is gone ({error}); the same command goes on") from None

        yield submit
        client.run(end_workers, on_error="ignore")


def workers_of(address):
    """Returns N of "local:N", or None of another address. Raises InputError where N is no number."""
    if not address:
        raise InputError("--dask is empty: expected the address of a scheduler, such as tcp://127.0.0.1:8786, or local:4")
    if not address.startswith("local:"):
        return None
    number = address.removeprefix("local:")
    if not number.isdecimal() or not 1 <= int(number) <= 1000:
        raise InputError(f"--dask {address}: expected local:N for N workers on this machine, such as local:4")
    return int(number)


def _on_worker(job, threads):
    """A job with its share of the worker's machine. threads: of all workers, by address, when the job was submitted."""
    from distributed import get_worker

    worker = get_worker()
    at_once = worker.state.nthreads
    if usable_cores() == os.cpu_count():  # nothing keeps the workers of this machine apart
        here = [n for address, n in threads.items() if _host(address) == _host(worker.address)]
        at_once = max(at_once, sum(here))
    return run_in_process(share(job, at_once))


def _host(address):
    return address.rpartition(":")[0]
