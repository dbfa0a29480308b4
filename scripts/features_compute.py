"""Rule features_compute: compute the features of one group's sources."""

from skymill import features
from skymill.cli.job import check_output, finish_job, start_job


def main(snakemake):
    """Write the group's feature tiles and their manifest."""
    chain = start_job(snakemake)
    written = features.compute(
        snakemake.input.sources,
        output=chain.output,
        survey=chain.survey.config,
        settings=chain.run.features,
        compute=chain.run.compute,
        workers=snakemake.threads,
    )
    check_output(written, snakemake.output.manifest)
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
