"""A Dask cluster whose workers are SLURM jobs, for `python -m signlib.batch PLAN.yaml --dask ADDRESS`; see docs/cluster.md.

python docs/slurm_cluster.py JOBS        prints ADDRESS, and keeps the cluster until Ctrl-C
"""

import pathlib
import signal
import sys

from dask_jobqueue import SLURMCluster

PROJECT = pathlib.Path(__file__).resolve().parents[1]

cluster = SLURMCluster(
    queue="normal",  # your partition
    walltime="04:00:00",
    memory="6GB",  # a run takes about 1 GB, and CACHE_MB
    processes=1,
    cores=1,  # threads of a worker: so many runs at once in a job
    job_cpu=4,  # which use so many cores
    worker_extra_args=["--lifetime", "230m", "--lifetime-stagger", "5m"],  # a worker gives its run back before SLURM kills it
    job_script_prologue=[f"cd {PROJECT}"],
    python=str(PROJECT / ".venv" / "bin" / "python"),
    local_directory="/tmp",
    log_directory=str(PROJECT / "runs" / "slurm"),
)
cluster.adapt(maximum_jobs=int(sys.argv[1]))  # as many jobs as there is work for
print(cluster.scheduler_address, flush=True)
signal.sigwait([signal.SIGINT, signal.SIGTERM])
cluster.close()
