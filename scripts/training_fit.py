"""Rule training_fit: fit, calibrate and evaluate one model."""

from pathlib import Path

from skymill import training
from skymill.cli.job import files_of, finish_job, start_job
from skymill.models import Watch


def main(snakemake):
    """Write the fitted model, its metrics and its card."""
    chain = start_job(snakemake)
    model, learned = chain.models[snakemake.wildcards.model], snakemake.input.set
    how = {
        "seed": chain.run.seed,
        "output_folder": Path(snakemake.output.manifest).parent,
        "threads": snakemake.threads,
        "images": chain.source_images(files_of(snakemake.input.images)),
        "watch": Watch(logs=Path(snakemake.log[0]).with_suffix("")),
    }
    if model.task == "structure":
        training.fit_structure(learned, model, **how)
    else:
        manifests = zip(chain.members(model.name), files_of(snakemake.input.members), strict=True)
        members = {member: Path(manifest).parent for member, manifest in manifests}
        training.fit(learned, model, members=members, importance=importance(chain, model, learned), **how)
    finish_job(snakemake, chain)


def importance(chain, model, learned):
    """Weigh the rows to learn from, where the model asks for it."""
    if not model.importance_weighting:
        return None
    catalogue, bands = Path(chain.output) / "catalogues" / "features", chain.survey.config.bands
    return training.weigh_rows(learned, model, catalogue=catalogue, bands=bands, seed=chain.run.seed)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
