"""Rule training_shift: say how the survey differs from the rows that one model learned from."""

from pathlib import Path

from skymill import training
from skymill.cli.job import finish_job, start_job


def main(snakemake):
    """Write what differs, and the model's card with it."""
    chain = start_job(snakemake)
    training.measure_shift(
        snakemake.input.fit,
        snakemake.input.set,
        run=chain.run,
        bands=chain.survey.config.bands,
        output_folder=Path(snakemake.output.shift).parent,
    )
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
