"""The glosses of a clip without TensorFlow, by a model that `python -m signlib.export lstm_model.h5 lstm_model.onnx` wrote.

python docs/onnx_example.py lstm_model.onnx clip.npy
"""

import json
import sys

import numpy as np
import onnxruntime

from signlib import Preprocessor

model, clip = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1  # a clip is too little work for more
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
record = json.loads(session.get_modelmeta().custom_metadata_map["signlib_record"])
frames = np.load(clip, allow_pickle=False)  # (T, F) in the layout of the clips that the model learnt from
features = Preprocessor(**record["preprocessor"])(frames.reshape(len(frames), -1), record["layout"])
probabilities = session.run(["probabilities"], {"features": features[None]})[0][0]  # of a batch of one
for i in np.argsort(-probabilities)[:5]:
    print(f"{record['classes'][i]} {probabilities[i]:.4%}")
