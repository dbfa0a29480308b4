"""Rule export_onnx: export one model and compare it with what was fitted."""

from skymill import export, features
from skymill.cli.job import finish_job, start_job


def main(snakemake):
    """Write the ONNX file and the manifest that names it."""
    chain = start_job(snakemake)
    export.to_onnx(
        snakemake.input.get("fit"),
        output=chain.output,
        model=chain.models[snakemake.wildcards.model],
        provider=chain.run.inference.provider,
        recipe=features.make_recipe(chain.survey.config, chain.run.features),
    )
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
