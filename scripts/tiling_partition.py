"""Rule tiling_partition: sort one group's sources into its tiles."""

from skymill import tiling
from skymill.cli.job import check_output, finish_job, start_job


def main(snakemake):
    """Write the group's source tiles and their manifest."""
    chain = start_job(snakemake)
    written = tiling.partition(
        chain.run, chain.sources(), snakemake.input.group, chain.output, workers=snakemake.threads
    )
    check_output(written, snakemake.output.manifest)
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
