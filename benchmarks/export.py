"""Export a run to every format and write benchmarks/export.json: python -m benchmarks.export RUN. Takes two minutes."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import run, say

EXPORTS = ("onnx", "onnx --quantize int8", "litert", "litert --quantize int8", "saved_model")
RESULTS = Path(__file__).with_name("export.json")


def main() -> None:
    proofs = []
    with TemporaryDirectory() as folder:
        for export in EXPORTS:
            output = Path(folder) / export.replace(" ", "_")
            command = ["image-classifier", "export", sys.argv[1], "--format", *export.split(), "--output", str(output)]
            say(run(command))
            proofs.append(json.loads((output / "proof.json").read_text(encoding="utf-8")))
    RESULTS.write_text(json.dumps({"exports": proofs}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
