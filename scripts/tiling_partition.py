"""Rule tiling_partition: sort one group's sources into its tiles."""

from skymill import tiling
from skymill.cli.job import start_job


def main(snakemake):
    """Write the group's source tiles and their manifest."""
    chain = start_job(snakemake)
    tiling.partition(chain.run, chain.survey, snakemake.input.group, chain.output, workers=snakemake.threads)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
