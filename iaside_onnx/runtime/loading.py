"""What ONNX Runtime is given of a model: its path, or its bytes where the path does not do."""

from __future__ import annotations

import onnx

from iaside_onnx.errors import ModelError
from iaside_onnx.runtime.external import is_beside
from iaside_onnx.runtime.graph import GraphFacts
from iaside_onnx.runtime.source import ModelSource

__all__ = ["source_of"]


def source_of(facts: GraphFacts) -> ModelSource:
    """How to give a model to the runtime; its files are left as they are.

    - The runtime reads no weights outside of the folder of the model, and a hub cache has links to
      them: these files are given in memory.
    - The runtime has no buffers for what ZipMap makes. So ZipMap is left out, and the tensor that
      it reads is the output; all that makes this tensor is as it was.
    - A file in the runtime's own format is given as bytes, so that it reads no other.

    Raises:
        ModelError: if the file cannot be read.
    """
    data = dict(zip(facts.external, facts.files[1:], strict=True))
    if not facts.is_ort and not facts.zipped:
        apart = {n: file.path for n, file in data.items() if not is_beside(facts.path, file)}
        return ModelSource(str(facts.path), apart)
    try:
        content = facts.path.read_bytes()
    except OSError as error:
        raise ModelError(f"{facts.path}: cannot be read ({error.strerror}); check it") from error
    if facts.is_ort:
        return ModelSource(content)
    every = {name: file.path for name, file in data.items()}
    return ModelSource(_without_zipmap(content, facts), every)


def _without_zipmap(content: bytes, facts: GraphFacts) -> bytes:
    model = onnx.load_model_from_string(content)
    graph = model.graph
    for node in [node for node in graph.node if set(node.output) & set(facts.zipped)]:
        graph.node.remove(node)
    for output in [output for output in graph.output if output.name in facts.zipped]:
        graph.output.remove(output)
    there = {output.name for output in graph.output}
    for tensor in dict.fromkeys(one.tensor for one in facts.zipped.values()):
        if tensor not in there:
            # The runtime infers type and shape.
            graph.output.append(onnx.ValueInfoProto(name=tensor))
    return model.SerializeToString()
