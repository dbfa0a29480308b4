"""Rule features_measure: find and measure the sources of one group's image tiles."""

from skymill import features
from skymill.cli.job import check_output, finish_job, start_job


def main(snakemake):
    """Write the group's segmentation tiles and their manifest."""
    chain = start_job(snakemake)
    written = features.measure_group(
        snakemake.input.group,
        output=chain.output,
        survey=chain.survey,
        run=chain.run,
        workers=snakemake.threads,
    )
    check_output(written, snakemake.output.manifest)
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
