"""Rule training_set: join labels to features and split them by sky."""

from skymill import training
from skymill.cli.job import files_of, finish_job, start_job


def main(snakemake):
    """Write the training set and the manifest that names it."""
    chain = start_job(snakemake)
    training.make_set(
        chain.run,
        chain.survey,
        files_of(snakemake.input.features),
        output=chain.output,
        images=chain.source_images(files_of(snakemake.input.images)),
    )
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
