"""Rule report_page: draw the page a person reads."""

from pathlib import Path

from skymill import report
from skymill.cli.job import finish_job, start_job


def main(snakemake):
    """Write the page."""
    chain = start_job(snakemake)
    report.page(chain.run, chain.survey.config, list(chain.models), Path(chain.output))
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
