"""Rule release_seal: seal one catalogue."""

from skymill import release
from skymill.cli.job import files_of, finish_job, start_job


def main(snakemake):
    """Write a version of the catalogue and point to it."""
    chain = start_job(snakemake)
    release.seal(
        snakemake.wildcards.catalogue,
        files_of(snakemake.input.manifests),
        sources=files_of(snakemake.input.sources),
        output=chain.output,
        features=files_of(snakemake.input.features),
        data=chain.survey_digest,
        settings=chain.catalogue_settings(snakemake.wildcards.catalogue),
        own_sources=snakemake.wildcards.catalogue in chain.segmenters,
    )
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
