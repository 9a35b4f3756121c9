"""Files of TensorFlow Lite: read, their recurrent operators as nodes, run one by one by LiteRT.

``flatbuffer`` reads and writes files, ``operators`` says what each recurrent operator of one means
as a node of ``verify.models``, ``equations`` what it computes where no cell of the reference does,
``single`` runs one that is cut out, ``steps`` recognises unrolled ones, and ``activations`` reads
what reaches either in the running graph.
"""
