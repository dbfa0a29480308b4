"""Rule report_page: draw the page a person reads."""

from pathlib import Path

from skymill import report
from skymill.cli.job import files_of, finish_job, start_job


def main(snakemake):
    """Write the page."""
    chain = start_job(snakemake)
    fits = [Path(manifest).parent for manifest in files_of(snakemake.input.compared)]
    report.page(
        chain.run,
        chain.survey.config,
        chain.classifiers,
        Path(chain.output),
        compared=fits,
        segmenters=chain.published_segmenters,
        structures=chain.structures,
    )
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
