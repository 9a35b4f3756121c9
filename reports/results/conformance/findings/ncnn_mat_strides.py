"""ncnn: ``ncnn.Mat`` of a NumPy array with strides reads other numbers than the array's.

The strides are ignored, without a word. Seen with ncnn 1.0.20261020; no report known.
"""

import ncnn
import numpy as np

print("ncnn", ncnn.__version__)
whole = np.arange(12, dtype=np.float32).reshape(3, 4)
for name, array in {"[:, ::2]": whole[:, ::2], ".T": whole.T, "[:, 1]": whole[:, 1]}.items():
    print(f"whole{name} = {array.tolist()}, ncnn.Mat: {np.array(ncnn.Mat(array)).tolist()}")
