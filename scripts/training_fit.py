"""Rule training_fit: fit, calibrate and evaluate one model."""

from pathlib import Path

from skymill import training
from skymill.cli.job import files_of, finish_job, start_job
from skymill.models import Watch


def main(snakemake):
    """Write the fitted model, its metrics and its card."""
    chain = start_job(snakemake)
    name = snakemake.wildcards.model
    model, seed, learned = chain.models[name], chain.run.seed, snakemake.input.set
    manifests = zip(chain.members(name), files_of(snakemake.input.members), strict=True)
    importance = None
    if model.importance_weighting:
        catalogue = Path(chain.output) / "catalogues" / "features"
        importance = training.weigh_rows(
            learned, model, catalogue=catalogue, bands=chain.survey.config.bands, seed=seed
        )
    training.fit(
        learned,
        model,
        seed=seed,
        output_folder=Path(snakemake.output.manifest).parent,
        threads=snakemake.threads,
        members={member: Path(manifest).parent for member, manifest in manifests},
        importance=importance,
        images=chain.source_images(files_of(snakemake.input.images)),
        watch=Watch(logs=Path(snakemake.log[0]).with_suffix("")),
    )
    finish_job(snakemake, chain)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
