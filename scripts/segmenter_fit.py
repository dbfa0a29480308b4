"""Rule segmenter_fit: fit, calibrate and evaluate one segmenter on rendered sky."""

from pathlib import Path

from skymill import training
from skymill.cli.job import finish_job, start_job


def main(snakemake):
    """Write the fitted segmenter and its metrics."""
    chain = start_job(snakemake)
    training.fit_segmenter(
        chain.segmenters[snakemake.wildcards.segmenter],
        seed=chain.run.seed,
        output_folder=Path(snakemake.output.manifest).parent,
        threads=snakemake.threads,
    )
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
