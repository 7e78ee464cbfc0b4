"""signlib: train a sign recogniser from MediaPipe keypoints. See README.md.

The public names below are imported when first used, so that `import signlib`, auditing and extracting never import
TensorFlow.
"""

import importlib

__version__ = "0.1.0"

_HOME = {
    "InputError": "errors",
    "TrainingError": "errors",
    "SaveError": "errors",
    "Interrupted": "errors",
    "Preprocessor": "preprocess",
    "Augment": "augment",
    "Clip": "dataset",
    "load_clips": "dataset",
    "split_clips": "split",
    "save_split": "split",
    "choose_glosses": "dataset",
    "class_names": "dataset",
    "gloss_counts": "dataset",
    "describe": "dataset",
    "audit_clips": "audit",
    "apply_audit": "gate",
    "recordings": "gate",
    "judge": "predictions",
    "read_predictions": "predictions",
    "three_numbers": "three_numbers",
    "browse": "browser",
    "cache_points": "point_cache",
    "KeypointGenerator": "generator",
    "use_device": "device",
    "build_model": "model",
    "check_memory": "memory",
    "make_record": "safe_save",
    "save_model": "safe_save",
    "publish": "safe_save",
    "load_model": "safe_save",
    "make_ensemble": "ensemble",
    "fit": "training",
    "clamp_history": "history",
    "check_parameters": "parameters",
    "header": "project",
    "Run": "runs",
    "run_notebook": "headless",
    "load_runs": "runs",
    "open_data": "project",
    "read_run": "runs",
    "read_batch": "compare",
    "promote": "promotion",
    "reopen": "reopen",
    "diagnose": "diagnose",
    "choose_runs": "diagnose_browser",
    "play_pairs": "diagnose_browser",
    "overfit_one_batch": "controls",
    "shuffle_labels": "controls",
    "make_sample": "sample",
}
__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'signlib' has no attribute {name!r}")
    return getattr(importlib.import_module(f"signlib.{_HOME[name]}"), name)


def __dir__():
    return __all__
