# Paths and digests that all stages share. `CHAIN` (skymill.cli.chain) reads and checks the configuration
# and knows the settings digest of each stage; what depends on a checkpoint is asked for below.
from snakemake.exceptions import WorkflowError

from skymill.cli.chain import Chain
from skymill.cli.checkpoints import read_checkpoint
from skymill.cli.where import what_stands
from skymill.report import PLOTS_OF_MODELS, PLOTS_OF_SKY

try:
    CHAIN = Chain.from_config(config, workflow.configfiles)
except (ValueError, OSError) as error:
    # Its message says it all; of any other error Snakemake shows where in the code it arose.
    raise WorkflowError(str(error)) from None


pathvars:
    results=CHAIN.output,
    logs=f"{CHAIN.output}/logs",
    benchmarks=f"{CHAIN.output}/benchmarks",


wildcard_constraints:
    group=r"o\d+p\d+",
    model="|".join(CHAIN.models) or "none",
    catalogue="|".join(CHAIN.catalogues),
    settings=r"[0-9a-f]{12}",
    fit=r"[0-9a-f]{12}",


# The plan's copy is named by survey and settings: where these changed, it is missing, even if Snakemake has lost its
# records of them.
named_plan = f"{CHAIN.output}/tiling/plan-{CHAIN.plan_name}.json"


# What a job asks a cluster for; on one machine it limits nothing unless `--resources mem_mb=...` says so.
def memory(wildcards, threads):
    return CHAIN.job_memory_mb(threads)


# Checkpoints are asked for from first to last: tiling_plan, training_set, export_onnx. When a checkpoint finishes,
# Snakemake looks again only at jobs that asked for it; a job that asked for a later checkpoint alone would be
# started with unknown inputs once that later one turns out to be up to date.
def plan():
    return read_checkpoint(checkpoints.tiling_plan)["groups"]


def group_file(wildcards):
    return f"{CHAIN.output}/tiling/groups/{wildcards.group}-{plan()[wildcards.group]['digest'][:12]}.json"


def group_manifests(catalogue, settings):
    return [
        f"{CHAIN.output}/catalogues/{catalogue}/groups/{settings}/{group}.json"
        for group in sorted(plan())
    ]


def source_manifests(wildcards):
    return group_manifests("sources", CHAIN.sources_settings)


def feature_manifests(wildcards):
    return group_manifests("features", CHAIN.features_settings)


def training_set():
    plan()
    return read_checkpoint(checkpoints.training_set)


def training_set_file(wildcards):
    return f"{CHAIN.output}/training/{training_set()['file']}"


def fit_manifest(model):
    fit = CHAIN.fit_digest(model, training_set()["sha256"])
    return f"{CHAIN.output}/training/{model}/{fit}/manifest.json"


def member_manifests(wildcards):
    return [fit_manifest(member) for member in CHAIN.members(wildcards.model)]


def survey_to_weigh_by(wildcards):
    weighs = CHAIN.models[wildcards.model].importance_weighting
    return f"{CHAIN.output}/catalogues/features/seal.json" if weighs else []


def own_fit_manifest(wildcards):
    return (
        fit_manifest(wildcards.model) if wildcards.model in CHAIN.trained_models else []
    )


def training_manifests(wildcards):
    if not CHAIN.trained_models:
        return []
    fits = [fit_manifest(model) for model in CHAIN.trained_models]
    return [f"{CHAIN.output}/training/set.json", *fits]


def compared_manifests(wildcards):
    return [fit_manifest(model) for model in CHAIN.only_compared]


def shifts(wildcards):
    return [
        f"{CHAIN.output}/training/shift/{model}/{name}"
        for model in CHAIN.trained_and_published
        for name in ("shift.json", "card.md")
    ]


def export_settings(wildcards):
    return CHAIN.export_settings(wildcards.model)


def export_manifests(wildcards):
    return [f"{CHAIN.output}/models/{model}/manifest.json" for model in CHAIN.published]


def own_export_manifest(wildcards):
    if wildcards.catalogue in CHAIN.published:
        return f"{CHAIN.output}/models/{wildcards.catalogue}/manifest.json"
    return []


def onnx_digest(model):
    training_set() if model in CHAIN.trained_models else plan()
    return read_checkpoint(checkpoints.export_onnx, model=model)["onnx"]


def onnx_file(wildcards):
    return (
        f"{CHAIN.output}/models/{wildcards.model}/{onnx_digest(wildcards.model)}.onnx"
    )


def model_manifests(model):
    return group_manifests(model, CHAIN.inference_settings(model, onnx_digest(model)))


def inference_manifests(wildcards):
    return [
        manifest for model in CHAIN.published for manifest in model_manifests(model)
    ]


def catalogue_manifests(wildcards):
    if wildcards.catalogue == "sources":
        return source_manifests(wildcards)
    if wildcards.catalogue == "features":
        return feature_manifests(wildcards)
    return model_manifests(wildcards.catalogue)


def upstream_features(wildcards):
    return (
        feature_manifests(wildcards) if wildcards.catalogue in CHAIN.published else []
    )


def seals(wildcards):
    return [f"{CHAIN.output}/catalogues/{name}/seal.json" for name in CHAIN.catalogues]


# Files that `snakemake --report` shows, under a caption of workflow/report/.
def shown(name, caption, category, **labels):
    return report(
        f"<results>/report/{name}",
        caption=f"../report/{caption}.rst",
        category=category,
        labels=labels,
    )


def report_pages():
    return [
        shown(f"model-{model}.html", "model", "Run", page=model)
        for model in CHAIN.published
    ]


def report_plots():
    of_models = [
        shown(f"plots/{model}-{plot}.svg", plot, "Models", model=model, plot=plot)
        for model in CHAIN.trained_and_published
        for plot in PLOTS_OF_MODELS
    ]
    of_sky = [
        shown(f"plots/sky-{plot}.svg", plot, "Sky", map=plot)
        for plot in PLOTS_OF_SKY
        if CHAIN.published
    ]
    return of_models + of_sky
