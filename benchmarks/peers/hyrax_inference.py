"""Hyrax's side of image inference, in its own environment: `infer` over FITS files, one of each stamp and band.

Its pictures are flux alone, so the network is handed over as one that takes flux and gives probabilities.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from answering import answer
from torch import nn

# Hyrax imports torchvision, whose compiled operators (`infer` uses none) load with the CUDA build of torch alone.
sys.modules["torchvision._meta_registrations"] = ModuleType("torchvision._meta_registrations")

from hyrax import Hyrax  # noqa: E402
from hyrax.models.model_registry import hyrax_model  # noqa: E402

NAME = "hyrax_inference.Network"


@hyrax_model
class Network(nn.Module):
    """The network that was handed over."""

    def __init__(self, config: Any, data_sample: Any = None) -> None:
        super().__init__()
        self.config = config
        self.network = torch.jit.load(config["model"][NAME]["file"])

    def forward(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Give probabilities (n, classes) of flux (n, bands, k, k)."""
        found: torch.Tensor = self.network(inputs[0])
        return found

    def infer_batch(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Do it for `infer`."""
        return self(batch)

    train_batch = validate_batch = test_batch = infer_batch  # asked for of every model, not called

    @staticmethod
    def prepare_inputs(data_dict: dict[str, Any]) -> tuple[Any]:
        """Give the flux of a batch."""
        import numpy as np

        return (np.asarray(data_dict["data"]["image"], dtype=np.float32),)


def infer(stamps: str, table: str, network: str, weights: str, size: int, results: str) -> dict[str, Any]:
    """Run the network over all stamps; give how many there are and the file of what it says, in their order."""
    os.chdir(results)
    hyrax = Hyrax()
    settings = hyrax.config
    settings["general"] |= {"results_dir": results, "log_level": "error"}
    settings["model"]["name"] = NAME
    settings["model"][NAME] = {"file": network}
    settings["infer"]["model_weights_file"] = weights
    settings["data_set"] |= {"filter_catalog": table, "crop_to": [size, size], "transform": False}
    one = {"dataset_class": "FitsImageDataset", "data_location": stamps, "primary_id_field": "object_id"}
    settings["data_request"] = {"infer": {"data": {**one, "fields": ["image", "object_id"]}}}
    found = hyrax.infer()
    file = Path(results) / "probabilities.npy"
    np.save(file, np.stack([row["data"] for row in found[np.arange(len(found))]]))
    return {"n": len(found), "file": str(file)}


if __name__ == "__main__":
    answer(infer, {})
