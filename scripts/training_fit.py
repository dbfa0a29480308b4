"""Rule training_fit: fit, calibrate and evaluate one model."""

from pathlib import Path

from skymill import training
from skymill.cli.job import finish_job, start_job


def main(snakemake):
    """Write the fitted model, its metrics and its card."""
    chain = start_job(snakemake)
    training.fit(
        snakemake.input.set,
        chain.models[snakemake.wildcards.model],
        seed=chain.run.seed,
        output_folder=Path(snakemake.output.manifest).parent,
        threads=snakemake.threads,
    )
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
