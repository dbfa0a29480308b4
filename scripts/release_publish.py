"""Rule release_publish: hold a finished run against the gate and publish it."""

from pathlib import Path

from skymill import release
from skymill.cli.job import finish_job, start_job
from skymill.cli.release import content_of
from skymill.report.diffing import diff_page
from skymill.store.document import to_document
from skymill.store.durable import write_bytes


def main(snakemake):
    """Publish, unless nothing is new, and write the summary."""
    chain = start_job(snakemake)
    told = release.publish_if_new(
        content_of(chain),
        snakemake.wildcards.release,
        gate=chain.run.release.gate,
        page=diff_page,
        compute=chain.run.compute,
        workers=snakemake.threads,
    )
    write_bytes(Path(snakemake.output.summary), to_document(told))
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
