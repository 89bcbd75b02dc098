"""What ONNX Runtime says, without its source lines, and what to do about it."""

from __future__ import annotations

import re

__all__ = ["advice_on", "reason_of"]

_HEAD, _TAIL = 80, 180
_CODE = re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_LOADING = re.compile(r"^Load model from .*? failed: ?(?:Fatal error: )?")
# "/onnxruntime_src/.../model.cc:256 " or "model.cc:256 ", and the function after it.
_SOURCE = re.compile(r"(?:[A-Za-z]:)?[\w./\\-]*\.(?:cc|cpp|cu|cuh|h|hpp|inl):\d+ ")
_FUNCTION = re.compile(r"(?:[\w&*:<>,\[\]~= ]*?[ :~])?[\w:~]+(?:<[^()]*>)?\(")
# What CUDA's errors have at their end.
_PLACE = re.compile(r" *; (?:hostname|file|line|expr)=[^;]*")
# Sentences that say nothing of the model.
_PHRASES = re.compile(
    r"This is an invalid model\. |ONNX Runtime only \*guarantees\* support [^.]*\. "
    r"|The operator schemas and or other functionality [^.]*\. "
)

# What to do, by words of the reason; the first that fits.
_ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"Unsupported model IR version|Unknown model file format version",
        "update ONNX Runtime, or export the model with an older onnx (its ir_version)",
    ),
    (
        r"under development and support for this is limited|official support for domain",
        "update ONNX Runtime, or export the model with a lower `opset=`",
    ),
    (
        r"No opset import for domain|not a registered function/op|No Op registered for",
        "this build of ONNX Runtime does not have that operator: export the model with standard "
        "operators, or install the build that has it",
    ),
    (
        r"Could not find an implementation",
        "this version of the operator, or its type, does not run on this device: raise the "
        "model's opset with onnx.version_converter, or export it in float32",
    ),
    (
        r"cannot be reshaped|Reshape node",
        "the graph may fix its batch or image size inside: export it with a dynamic batch, or try "
        "another `input_size=`, or one image a call (`batch_size=1`)",
    ),
    (
        r"Got invalid dimensions for input|Invalid rank for input",
        "give the size that it takes with `input_size=`",
    ),
    (
        r"External data|external data",
        "put the file of weights beside the model, complete and under the name that it had",
    ),
    (
        r"Protobuf parsing failed|ModelProto does not have a graph|not a valid ORT format|"
        r"verif(?:y|ication).*(?:ORT|flatbuffer)",
        "the file is damaged or no model: export it again",
    ),
    (
        r"ShapeInferenceError|Type Error|Invalid model|invalid model|is not a graph input",
        "the graph contradicts itself: check it with onnx.checker and export it again",
    ),
)


def reason_of(error: Exception) -> str:
    """The reason in a message of ONNX Runtime, on one line, without source paths and signatures."""
    text = " ".join(str(error).split())
    text = _CODE.sub("", text)
    text = _LOADING.sub("", text)
    while (found := _SOURCE.search(text)) is not None:
        text = text[: found.start()] + _after_function(text[found.end() :])
    text = _PHRASES.sub("", _PLACE.sub("", text)).rstrip(".; ")
    # Most reasons are at the end: lists of nodes or types are before them.
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]} ... {text[-_TAIL:]}"


def advice_on(reason: str) -> str:
    """What a user may do about a reason; empty if nothing is known."""
    return next((advice for words, advice in _ADVICE if re.search(words, reason)), "")


def _after_function(text: str) -> str:
    """The text after a function's signature, if it begins with one."""
    if _FUNCTION.match(text) is None:
        return text
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == ")" and depth == 0:
            # Operators and conversions end in a second pair: operator()(int).
            rest = text[place + 1 :]
            if rest.startswith("("):
                continue
            rest = re.sub(r"^ const\b", "", rest)
            return re.sub(r"^ \[with [^\]]*\]", "", rest).lstrip()
    return text
