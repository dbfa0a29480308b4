"""Rule segmenter_measure: find sources with one segmenter on one group's image tiles, and measure them."""

from pathlib import Path

from skymill import features
from skymill.cli.job import check_output, finish_job, start_job


def main(snakemake):
    """Write the group's tiles and their manifest."""
    chain = start_job(snakemake)
    segmenter = snakemake.wildcards.segmenter
    written = features.measure_group(
        snakemake.input.group,
        output=chain.output,
        survey=chain.survey,
        run=chain.run_with(segmenter, Path(snakemake.input.onnx).stem),
        workers=snakemake.threads,
        catalogue=segmenter,
    )
    check_output(written, snakemake.output.manifest)
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
