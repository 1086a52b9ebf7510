"""Two .tflite models as one: the second computes on what the first gives."""

from typing import Any


def joined(first: bytes, second: bytes) -> bytes:
    """A .tflite from the inputs of the first to the outputs of the second, whose input is the first's output.

    So a network that is converted already gets another head, without being converted again. Raises
    ValueError for models with several graphs, inputs or outputs in between.
    """
    below, above = parsed(first), parsed(second)
    graph, other = below.subgraphs[0], above.subgraphs[0]
    (output,), (entry,) = graph.outputs, other.inputs
    of_buffer = _appended(below.buffers, above.buffers[1:], skipped=1)
    of_code = _appended(below.operatorCodes, above.operatorCodes)
    tensors = len(graph.tensors)

    def of_tensor(index: int) -> int:
        """Where a tensor of the second is; -1 stands for an operand that is left out."""
        return index if index < 0 else int(output) if index == entry else tensors + int(index)

    for tensor in other.tensors:
        tensor.buffer = of_buffer(tensor.buffer)
    for operator in other.operators:
        operator.opcodeIndex = of_code(operator.opcodeIndex)
        operator.inputs = [of_tensor(index) for index in operator.inputs]
        operator.outputs = [of_tensor(index) for index in operator.outputs]
        operator.intermediates = [of_tensor(index) for index in _listed(operator.intermediates)]
    graph.tensors += other.tensors
    graph.operators += other.operators
    graph.outputs = [of_tensor(index) for index in other.outputs]
    return packed(below)


def parsed(model: bytes) -> Any:
    """A .tflite as objects. Raises ValueError for one with several graphs."""
    from ai_edge_litert.schema_py_generated import ModelT

    parsed = ModelT.InitFromPackedBuf(bytearray(model))
    if len(parsed.subgraphs) != 1 or parsed.signatureDefs:
        raise ValueError("a model with several graphs or signatures cannot be changed")
    return parsed


def _listed(indices: Any) -> list[int]:
    return [] if indices is None else list(indices)


def _appended(there: list[Any], more: list[Any], skipped: int = 0) -> Any:
    """Append to a list; returns where what had some index in the other list, of which the first are skipped,
    is now."""
    shift = len(there) - skipped
    there += more
    return lambda index: index if index < skipped else shift + index


def packed(model: Any) -> bytes:
    """The .tflite of such objects."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
