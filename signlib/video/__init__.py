"""From videos to keypoints, and from a model to live recognition; in an environment of its own, without TensorFlow."""

import os

LAYOUT = "1629"  # of the frames that are made here

# Before OpenCV is imported: what is wrong with a file the errors and notes here say.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
