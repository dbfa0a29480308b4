"""Rule inference_run: classify one group's sources with one model."""

from skymill import inference
from skymill.cli.job import check_output, files_of, finish_job, start_job


def main(snakemake):
    """Write the group's classification tiles and their manifest."""
    chain = start_job(snakemake)
    written = inference.run(
        snakemake.input.features,
        snakemake.input.onnx,
        output=chain.output,
        model=snakemake.wildcards.model,
        settings=chain.run.inference,
        compute=chain.run.compute,
        workers=snakemake.threads,
        images=chain.source_images(files_of(snakemake.input.images)),
    )
    check_output(written, snakemake.output.manifest)
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
