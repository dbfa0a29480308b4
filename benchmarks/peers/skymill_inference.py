"""Our side of inference: the stage as the workflow calls it, joined to workers that stand."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from answering import answer

from skymill.compute.cluster import open_client
from skymill.config import ComputeSettings
from skymill.config.run import InferenceSettings
from skymill.inference.stage import run


def main() -> None:
    """Start the workers, do the jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with open_client(arguments.workers, ComputeSettings()) as client:
        joined = ComputeSettings(scheduler=client.scheduler.address)

        def job(features: str, onnx: str, output: str) -> dict[str, Any]:
            manifest = run(
                features,
                Path(onnx),
                output=output,
                model="scored",
                settings=InferenceSettings(),
                compute=joined,
                workers=arguments.workers,
            )
            return {"manifest": str(manifest)}

        answer(job, {})


if __name__ == "__main__":
    main()
