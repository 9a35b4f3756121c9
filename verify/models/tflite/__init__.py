"""Files of TensorFlow Lite: their recurrent operators as nodes, run one by one by LiteRT.

``flatbuffer`` reads files, ``operators`` describes recurrent operators as nodes, ``equations`` has
their equations if the reference has no cell for them, ``single`` runs one that is cut out,
``steps`` recognises unrolled ones, ``activations`` reads inputs and outputs in the running graph.
"""
