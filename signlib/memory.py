"""Whether a training fits into memory, before it starts: `check_memory`."""

import contextlib
import pathlib
import resource

import numpy as np

from signlib.errors import InputError

MIB = 2**20
# Of a step, the peak memory above that of two clips: 1.4 (conv_transformer) to 2.8 times (bilstm) what all layers give out for
# batches of 256 clips, of the LSTM with 200 frames 2.4 times; 40 to 250 MiB whatever the batch.
STEP_TIMES, STEP_BYTES = 3, 200 * MIB


def check_memory(model, batches, val_batches):
    """Raises InputError where training `model` on these KeypointGenerators would need more memory than this process can still
    have; it says which BATCH_SIZE and CACHE_MB would fit. An estimate: of the step from what the layers give out, of the
    caches from the clips."""
    free = free_memory()
    caches = sum(min(made.cache_bytes, made.cacheable_bytes) for made in (batches, val_batches))
    size = min(batches.batch_size, len(batches.clips))
    if (needed := step_memory(model, batches, size) + caches) <= free:
        return
    fits = size
    while fits > 1 and step_memory(model, batches, fits) > 0.8 * free:
        fits = (fits + 1) // 2
    room = int(0.8 * free - step_memory(model, batches, fits))
    if room < 0:
        advice = (
            "not even BATCH_SIZE = 1 fits: end other programs, or take fewer frames (SEQUENCE_LENGTH) or another ARCHITECTURE"
        )
    else:
        advice = f"BATCH_SIZE = {fits} with CACHE_MB = {min(room, caches + MIB - 1) // MIB} would fit"
    raise InputError(
        f"memory is short: training needs about {needed / MIB:,.0f} MiB more, {caches / MIB:,.0f} of them for the cache, and "
        f"{free / MIB:,.0f} are free; {advice}"
    )


def step_memory(model, batches, batch_size):
    """Returns about how many bytes a training step on `batch_size` clips takes."""
    frames = batches.preprocessor.sequence_length
    values = sum(np.prod([n or frames for n in layer.output.shape[1:]]) for layer in model.layers)
    return STEP_BYTES + STEP_TIMES * 4 * int(values) * batch_size


def free_memory():
    """Returns how many bytes this process can still have: of the machine's, its cgroup's (containers, clusters) and its own
    limit (`ulimit -v`) what is least."""
    import psutil

    free = [psutil.virtual_memory().available]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        free.append(limit - psutil.Process().memory_info().vms)
    with contextlib.suppress(OSError, ValueError, StopIteration):  # Linux alone has them
        lines = pathlib.Path("/proc/self/cgroup").read_text().splitlines()
        inner = pathlib.Path("/sys/fs/cgroup") / next(line[3:] for line in lines if line.startswith("0::")).lstrip("/")
        for group in (inner, *inner.parents):
            with contextlib.suppress(OSError, ValueError):  # the outermost has none; "max" is no number
                limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
                stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
                free.append(limit - used + int(stat["inactive_file"]))  # which is given back when needed
    return max(min(free), 0)
