# Each target sets up the environment it needs. `make` alone lists the targets.

# Prints which pinned requirements fit this Python on this machine; nothing where none does.
PROBE = import platform as p, sys; v = sys.version_info[:2]; mac = sys.platform == "darwin"; \
	print("macos-stack" if mac and (3, 11) <= v <= (3, 12) else \
	"current" if (3, 11) <= v <= (3, 13) and not (mac and p.machine() == "x86_64") else "")
PROBE_MACOS_STACK = import sys; print("macos-stack" if (3, 11) <= sys.version_info[:2] <= (3, 12) else "")
PYTHONS = $(or $(PYTHON),python3.11 python3.12 python3.13 python3 python)
TRAIN = train,export,test
NEEDED = "signlib needs Python 3.11, 3.12 or 3.13 (3.11 or 3.12 on an Intel Mac and for the macOS stack); tried $(PYTHONS)." \
	"With conda: 'conda env create -f environment.yml', 'conda activate signlib', then 'python train.py'." \
	"Or name one: make train PYTHON=/path/to/python3.11"

PROBE_VIDEO = import platform as p, sys; intel_mac = sys.platform == "darwin" and p.machine() == "x86_64"; \
	print("video" if (3, 11) <= sys.version_info[:2] <= (3, 12) and not intel_mac else "")
NEEDED_VIDEO = "MediaPipe 0.10.21 needs Python 3.11 or 3.12; tried $(PYTHONS)." \
	"On an Intel Mac, whose newest packages are older than those pinned: pip install -e '.[video]' in an environment of your own." \
	"Or name one: make extract VIDEOS=FOLDER PYTHON=/path/to/python3.11"

# $(call install,ENVIRONMENT,PROBE,EXTRAS,ADVICE): makes the environment with the first Python that fits and installs what is pinned.
define install
@for python in $(PYTHONS); do \
	stack=$$($$python -c '$(2)' 2>/dev/null); \
	if [ -n "$$stack" ]; then break; fi; \
done; \
if [ -z "$$stack" ]; then printf '%s\n' $(or $(4),$(NEEDED)); exit 1; fi; \
echo "Setting up $(1) with $$($$python --version) and requirements/$$stack.txt: a few minutes, once"; \
$$python -m venv $(1) && \
$(1)/bin/python -m pip install --quiet --disable-pip-version-check -c requirements/$$stack.txt -e '.[$(3)]' && \
touch $@
endef

VIDEOS = processed_vids/wlasl-video/videos
OUT = processed_vids/wlasl-video/processed_keypoints_fixed
MODEL = models/lstm_model.onnx

help:
	@echo "make train             train on processed_vids/wlasl-video, or on the built-in sample; options: ARGS='--epochs 30'"
	@echo "make lab               open JupyterLab on notebooks/"
	@echo "make extract VIDEOS=FOLDER   keypoints of a folder of videos, into $(OUT); options: ARGS='--workers 2'"
	@echo "make live              signs before the camera, by $(MODEL); options: ARGS='--video FILE'"
	@echo "make test              ruff, then the tests"
	@echo "make test-slow         trainings that are killed and go on, and what else make test leaves out for time"
	@echo "make test-dask         batches on a Dask cluster"
	@echo "make test-lab          the notebooks in JupyterLab, in Chromium; LAB_SCREENSHOTS=FOLDER keeps pictures of them"
	@echo "make test-macos-stack  model, generator, saving and a notebook on TensorFlow 2.16.2 (what tensorflow-macos installs)"
	@echo "make test-video        extraction and live recognition, with MediaPipe"
	@echo "make clean             remove the environments, not your data, models or runs"

train: .venv/installed
	.venv/bin/python train.py $(ARGS)

lab: .venv/installed
	JUPYTER_PATH="$(CURDIR)/.venv-video/share/jupyter" .venv/bin/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks $(ARGS)

extract: videos .venv-video/installed
	.venv-video/bin/python -m signlib.video extract "$(VIDEOS)" --out "$(OUT)" $(ARGS)

videos: # looked for before minutes go into an environment
	@test -d "$(VIDEOS)" || { echo 'no folder "$(VIDEOS)": make extract VIDEOS=FOLDER, the folder of your videos'; exit 2; }

live: .venv-video/installed
	.venv-video/bin/python -m signlib.video live "$(MODEL)" $(ARGS)

test: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/python -m pytest -n 2 --dist loadfile

test-slow: .venv/installed
	.venv/bin/python -m pytest -n 2 --dist loadfile -m slow

test-dask: .venv/installed-dask
	.venv/bin/python -m pytest -m dask tests/test_cluster.py

test-lab: .venv/installed-browser
	.venv/bin/python -m pytest -m lab -s tests/notebooks/test_lab.py

test-macos-stack: .venv-macos/installed
	.venv-macos/bin/python -m pytest -n 2 --dist loadfile -m stack

test-video: .venv-video/installed-test .venv/installed
	.venv-video/bin/python -m pytest -n 2 -m video tests/video

clean:
	rm -rf .venv .venv-macos .venv-video

.venv/installed: pyproject.toml requirements/current.txt requirements/macos-stack.txt
	$(call install,.venv,$(PROBE),$(TRAIN))

.venv/installed-%: .venv/installed
	.venv/bin/python -m pip install --quiet --disable-pip-version-check \
		-c requirements/$$(.venv/bin/python -c '$(PROBE)').txt -e '.[$*]'
	touch $@

.venv-macos/installed: pyproject.toml requirements/macos-stack.txt
	$(call install,.venv-macos,$(PROBE_MACOS_STACK),$(TRAIN))

.venv-video/installed: pyproject.toml requirements/video.txt
	$(call install,.venv-video,$(PROBE_VIDEO),video,$(NEEDED_VIDEO))
	.venv-video/bin/python -m ipykernel install --prefix .venv-video --name signlib-video --display-name "signlib video" >/dev/null

.venv-video/installed-test: .venv-video/installed
	.venv-video/bin/python -m pip install --quiet --disable-pip-version-check -c requirements/video.txt -e '.[test,video-test]'
	touch $@

.PHONY: help train lab extract videos live test test-slow test-dask test-lab test-macos-stack test-video clean
.DEFAULT_GOAL := help
