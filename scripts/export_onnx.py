"""Rule export_onnx: export one model and compare it with what was fitted."""

from skymill import export
from skymill.cli.job import finish_job, start_job


def main(snakemake):
    """Write the ONNX file and the manifest that names it."""
    chain = start_job(snakemake)
    model = chain.models[snakemake.wildcards.model]
    export.to_onnx(snakemake.input.get("fit"), output=chain.output, model=model)
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
