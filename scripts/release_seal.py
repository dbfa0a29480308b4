"""Rule release_seal: seal one catalogue."""

from skymill import release
from skymill.cli.job import start_job


def main(snakemake):
    """Write a version of the catalogue and point to it."""
    chain = start_job(snakemake)
    release.seal(
        snakemake.wildcards.catalogue,
        snakemake.input.manifests,
        sources=snakemake.input.sources,
        output=chain.output,
    )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
