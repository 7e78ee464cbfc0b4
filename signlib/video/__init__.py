"""From videos to keypoints, and from a model to live recognition; in an environment of its own, without TensorFlow."""

LAYOUT = "1629"  # of the frames that are made here
