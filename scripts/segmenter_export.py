"""Rule segmenter_export: export one segmenter and compare it with what was fitted."""

from skymill import export
from skymill.cli.job import finish_job, start_job


def main(snakemake):
    """Write the ONNX file and the manifest that names it."""
    chain = start_job(snakemake)
    model = chain.segmenters[snakemake.wildcards.segmenter]
    export.segmenter_to_onnx(snakemake.input.fit, output=chain.output, model=model)
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
