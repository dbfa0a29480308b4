"""Rule tiling_images: plan the survey's image tiles."""

from skymill import tiling
from skymill.cli.job import finish_job, start_job


def main(snakemake):
    """Write where the run's image tiles lie, group by group."""
    chain = start_job(snakemake)
    tiling.plan_images(chain.run, chain.survey, chain.output, workers=snakemake.threads)
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
