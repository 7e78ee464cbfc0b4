"""From videos to keypoints, and from a model to live recognition; in an environment of its own, without TensorFlow."""
