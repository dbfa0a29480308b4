"""The tables that a run was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from skymill.cli.chain import Chain
from skymill.cli.operating.receipts import Receipt, receipt_path
from skymill.survey import file_list


def input_tables(chain: Chain) -> Mapping[str, str]:
    """Give the SHA-256 of each table that the run's plan was made from, by name; the digest of a simulation.

    Returns
    -------
    mapping of str to str
        Empty where there is no plan, or where the tables have changed since and no receipt tells what they were.
    """
    plan = Path(chain.output) / "tiling" / "plan.json"
    if not plan.is_file():
        return {}
    data = json.loads(plan.read_bytes())["data"]
    receipt = Receipt.read(receipt_path(Path(chain.output), plan))
    if receipt is not None and receipt.decides.get("data") == data:
        listed: Mapping[str, str] = receipt.explains["data"]
        return listed
    return file_list(chain.survey) if chain.survey_digest == data else {}
