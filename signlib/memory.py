"""Whether a training fits into memory, before it starts: `check_memory`."""

import contextlib
import math
import pathlib
import resource

import numpy as np
import psutil

from signlib.errors import InputError

MIB = 2**20
# Of a step, the peak memory above that of two clips: 1.4 (conv_transformer) to 2.8 times (bilstm) what all layers give out for
# batches of 256 clips, of the LSTM with 200 frames 2.4 times; 40 to 250 MiB whatever the batch.
STEP_TIMES, STEP_BYTES = 3, 200 * MIB
# Of a run, its kernel and what runs that: at most 1,040 MiB were seen, of which two processes of two runs share a part.
RUN_BYTES = 900 * MIB
# What all layers give out for a frame: at most so many values with the default landmarks, whatever FEATURES.
VALUES = {"lstm": 2_500, "bilstm": 4_500, "gru": 2_500, "conv_transformer": 22_000}


def check_memory(model, batches, val_batches):
    """Raises InputError where training `model` on these KeypointGenerators would need more memory than this process can still
    have; it says which BATCH_SIZE and CACHE_MB would fit. An estimate: of the step from what the layers give out, of the
    caches from the clips. An accelerator's own memory is not looked at."""
    free = free_memory()
    caches = sum(min(made.cache_bytes, made.cacheable_bytes) for made in (batches, val_batches))
    fits = min(batches.batch_size, len(batches.clips))
    if (needed := step_memory(model, batches, fits) + caches) <= free:
        return
    while fits > 1 and step_memory(model, batches, fits) > 0.8 * free:
        fits = (fits + 1) // 2
    room = max(int(0.8 * free - step_memory(model, batches, fits)), 0)
    advice = f"BATCH_SIZE = {fits} with CACHE_MB = {min(room, caches + MIB - 1) // MIB} would fit"
    if step_memory(model, batches, 1) > free:
        advice = "not even BATCH_SIZE = 1 fits: end other programs, or set SEQUENCE_LENGTH to fewer frames"
    raise InputError(
        f"memory is short: training needs about {needed / MIB:,.0f} MiB more, {caches / MIB:,.0f} of them for the cache, and "
        f"{free / MIB:,.0f} are free; {advice}"
    )


def step_memory(model, batches, batch_size):
    """Returns about how many bytes of the machine's memory a training step on `batch_size` clips takes."""
    from signlib.device import tf  # here, since what starts runs asks for free memory alone

    if tf.config.list_logical_devices("GPU"):
        return STEP_BYTES
    frames = batches.preprocessor.sequence_length
    values = sum(np.prod([n or frames for n in layer.output.shape[1:]]) for layer in model.layers)
    return STEP_BYTES + STEP_TIMES * 4 * int(values) * batch_size


def run_memory(parameters, at_once=1):
    """Returns about how many bytes a run takes at most where so many at once share CACHE_MB, before there is a model that
    `check_memory` could look at."""
    frames = parameters.get("SEQUENCE_LENGTH", 0) * parameters.get("BATCH_SIZE", 0)
    values = VALUES.get(parameters.get("ARCHITECTURE"), 0)
    cache = parameters.get("CACHE_MB", 0) * MIB // at_once
    return RUN_BYTES + STEP_TIMES * 4 * values * frames + cache


def free_memory():
    """Returns how many bytes this process can still have: of the machine's, its cgroup's (containers, clusters) and its own
    limit (`ulimit -v`) what is least."""
    free = [psutil.virtual_memory().available]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        free.append(limit - psutil.Process().memory_info().vms)
    with contextlib.suppress(OSError):  # Linux alone has them
        for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):  # cgroup 2, cgroup 1
                inner = pathlib.Path("/sys/fs/cgroup", controllers, path.lstrip("/"))
                free += [_free_of(group, controllers) for group in (inner, *inner.parents)]
    return max(min(free), 0)


def _free_of(group, old):
    """What a cgroup has left; infinite where it sets no limit."""
    names, prefix = (("limit_in_bytes", "usage_in_bytes"), "total_") if old else (("max", "current"), "")
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in names)
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        files = sum(int(stat[f"{prefix}{kind}_file"]) for kind in ("active", "inactive"))  # given back when needed
        return limit - used + files
    except (OSError, ValueError, KeyError):  # "max" is no number
        return math.inf
