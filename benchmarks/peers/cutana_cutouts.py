"""Cutana's side of cutouts from files, in its own environment: one worker that streams stamps into this process."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from answering import answer
from cutana import get_default_config
from cutana.streaming_orchestrator import StreamingOrchestrator


def cut(catalogue: str, files: list[str], size: int, batch: int) -> dict[str, Any]:
    """Cut the stamps of a catalogue; give how many there are and the sum of their absolute pixels."""
    with tempfile.TemporaryDirectory() as folder:
        orchestrator = StreamingOrchestrator(settings(catalogue, files, size, folder))
        n, total = 0, 0.0
        try:
            orchestrator.init_streaming(batch_size=batch, write_to_disk=False, max_workers=1, min_workers=1)
            for _ in range(orchestrator.get_batch_count()):
                stamps = np.asarray(orchestrator.next_batch()["cutouts"])
                n += len(stamps)
                total += float(np.abs(stamps).sum(dtype=np.float64))
        finally:
            orchestrator.cleanup()
    return {"n": n, "total": total}


def settings(catalogue: str, files: list[str], size: int, folder: str) -> Any:
    """Give settings under which pixels come out as they stand in the files."""
    bands = [Path(file).stem.removeprefix("tile_") for file in files]
    config = get_default_config()
    config.source_catalogue, config.output_dir = catalogue, folder
    config.target_resolution = size
    config.selected_extensions = [{"name": band, "ext": "PrimaryHDU"} for band in bands]
    config.channel_weights = {band: [float(other == band) for other in bands] for band in bands}
    config.normalisation_method, config.apply_flux_conversion = "none", False
    config.write_to_disk, config.max_workers = False, 1
    config.loadbalancer.skip_memory_calibration_wait = True
    config.loadbalancer.main_process_memory_reserve_gb = 1.0
    return config


if __name__ == "__main__":
    answer(cut, {})
