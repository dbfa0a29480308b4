"""Rule tiling_plan: read the survey once, plan its tiles and groups."""

from skymill import tiling
from skymill.cli.job import finish_job, start_job


def main(snakemake):
    """Plan the run's tiles."""
    chain = start_job(snakemake)
    tiling.plan(chain.run, chain.sources(), chain.output, workers=snakemake.threads)
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
