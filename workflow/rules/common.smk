# Paths and digests that all stages share. `CHAIN` (skymill.cli.chain) reads and checks the configuration
# and knows the settings digest of each stage; what depends on a checkpoint is asked for below.
from snakemake.exceptions import WorkflowError

from skymill.cli.chain import Chain, with_release_named
from skymill.cli.checkpoints import read_checkpoint
from skymill.config.run import RELEASE_NAME
from skymill.cli.where import what_stands
from skymill.report import IMAGES_NUMBERS, IMAGES_PAGE, PLOTS_OF_MODELS, PLOTS_OF_SKY

try:
    # In place: scripts see the same.
    config.update(with_release_named(config, workflow.configfiles))
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
    release=RELEASE_NAME,
    model="|".join(CHAIN.models) or "none",
    segmenter="|".join(CHAIN.segmenters) or "none",
    catalogue="|".join(CHAIN.catalogues),
    settings=r"[0-9a-f]{12}",
    # A fit that a model is pinned to is a file like any other, which nothing makes; changed labels do not touch it.
    fit="".join(f"(?!{pin})" for pin in CHAIN.pinned.values()) + "[0-9a-f]{12}",


# The plan's copy is named by survey and settings: where these changed, it is missing, even if Snakemake has lost its
# records of them.
named_plan = f"{CHAIN.output}/tiling/plan-{CHAIN.plan_name}.json"


# The same of the plan of image tiles; a survey of tables asks for neither.
named_images = f"{CHAIN.output}/tiling/images-{CHAIN.images_name}.json"


# What a job asks a cluster for; on one machine it limits nothing unless `--resources mem_mb=...` says so.
def memory(wildcards, threads):
    return CHAIN.job_memory_mb(threads)


# Checkpoints are asked for from first to last: tiling_images, segmenter_export, or tiling_plan, training_set, export_onnx. When a checkpoint finishes,
# Snakemake looks again only at jobs that asked for it; a job that asked for a later checkpoint alone would be
# started with unknown inputs once that later one turns out to be up to date.
def images():
    return read_checkpoint(checkpoints.tiling_images)["groups"]


def image_group_file(wildcards):
    digest = images()[wildcards.group]["digest"][:12]
    return f"{CHAIN.output}/tiling/images/{wildcards.group}-{digest}.json"


# What a job reads pixels by: only a model of pixels has a use for it, or the set that its fit is named by.
def image_group_files(needed):
    if not needed:
        return []
    return [
        f"{CHAIN.output}/tiling/images/{group}-{described['digest'][:12]}.json"
        for group, described in sorted(images().items())
    ]


def images_of_set(wildcards):
    return image_group_files(CHAIN.looks_at_pixels)


def images_of_model(wildcards):
    return image_group_files(CHAIN.models[wildcards.model].stamps is not None)


def segmentation_manifests(wildcards):
    if not CHAIN.has_images:
        return []
    folder = (
        f"{CHAIN.output}/catalogues/segmentation/groups/{CHAIN.segmentation_settings}"
    )
    return [f"{folder}/{group}.json" for group in sorted(images())]


def segmenter_fit(segmenter):
    fit = CHAIN.segmenter_fit(segmenter)
    return f"{CHAIN.output}/training/{segmenter}/{fit}/manifest.json"


def own_segmenter_fit(wildcards):
    return segmenter_fit(wildcards.segmenter)


def segmenter_export_settings(wildcards):
    return CHAIN.segmenter_export(wildcards.segmenter)


def segmenter_digest(segmenter):
    images()
    return read_checkpoint(checkpoints.segmenter_export, segmenter=segmenter)["onnx"]


def segmenter_file(wildcards):
    onnx = segmenter_digest(wildcards.segmenter)
    return f"{CHAIN.output}/models/{wildcards.segmenter}/{onnx}.onnx"


def found_manifests(segmenter):
    settings = CHAIN.found_settings(segmenter, segmenter_digest(segmenter))
    folder = f"{CHAIN.output}/catalogues/{segmenter}/groups/{settings}"
    return [f"{folder}/{group}.json" for group in sorted(images())]


def segmenter_manifests(wildcards):
    fits = [segmenter_fit(name) for name in CHAIN.segmenters]
    found = [
        manifest
        for name in CHAIN.published_segmenters
        for manifest in found_manifests(name)
    ]
    return fits + found


def plan():
    if CHAIN.has_images:
        images()
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
    return CHAIN.learned_set(wildcards.model, training_set())


def fit_manifest(model):
    fit = CHAIN.fit_digest(model, training_set())
    return f"{CHAIN.output}/training/{model}/{fit}/manifest.json"


def member_manifests(wildcards):
    return [fit_manifest(member) for member in CHAIN.members(wildcards.model)]


def survey_to_weigh_by(wildcards):
    weighs = CHAIN.models[wildcards.model].importance_weighting
    return f"{CHAIN.output}/catalogues/features/seal.json" if weighs else []


def fit_threads(wildcards):
    return CHAIN.fit_threads(wildcards.model)


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
        for model in CHAIN.trained_classifiers
        for name in ("shift.json", "card.md")
    ]


def export_settings(wildcards):
    return CHAIN.export_settings(wildcards.model)


def export_manifests(wildcards):
    return [f"{CHAIN.output}/models/{model}/manifest.json" for model in CHAIN.published]


def own_export_manifest(wildcards):
    if wildcards.catalogue in (*CHAIN.published, *CHAIN.segmenters):
        return f"{CHAIN.output}/models/{wildcards.catalogue}/manifest.json"
    return []


def onnx_digest(model):
    training_set() if model in CHAIN.trained_models else plan()
    return read_checkpoint(checkpoints.export_onnx, model=model)["onnx"]


def onnx_file(wildcards):
    return (
        f"{CHAIN.output}/models/{wildcards.model}/{onnx_digest(wildcards.model)}.onnx"
    )


# What a model of pixels looks at: a source may lie on an image of a neighbouring group.
def looked_at_images(wildcards):
    onnx_digest(wildcards.model)
    return image_group_files(CHAIN.looked_at(wildcards.model) is not None)


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
    if wildcards.catalogue in CHAIN.segmenters:
        return found_manifests(wildcards.catalogue)
    if CHAIN.is_of_images(wildcards.catalogue):
        return segmentation_manifests(wildcards)
    return model_manifests(wildcards.catalogue)


def named_release(wildcards):
    if CHAIN.run.release.name is None:
        raise WorkflowError(
            "release: expected a name, found none; say `snakemake release --config release=DR2`"
        )
    return f"{CHAIN.output}/release/{CHAIN.run.release.name}.json"


# What a workflow that nobody watches leaves behind: release/summary.json, and a command that tells people.
def note_begin():
    from skymill.release.scheduled import begin

    if CHAIN.run.release.name is not None:
        begin(CHAIN.output, CHAIN.run.release.name)


def note_end(succeeded):
    from skymill.release.scheduled import end

    settings = CHAIN.run.release
    if settings.name is not None:
        end(CHAIN.output, settings.name, succeeded=succeeded, notify=settings.notify)


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
    captions = {
        **dict.fromkeys(CHAIN.classifiers, "model"),
        **dict.fromkeys(CHAIN.structures, "structure"),
    }
    return [
        shown(f"model-{model}.html", caption, "Run", page=model)
        for model, caption in captions.items()
    ]


def report_images():
    if not CHAIN.has_images:
        return []
    return [
        shown(IMAGES_PAGE, "images", "Run", page="images"),
        f"<results>/report/{IMAGES_NUMBERS}",
    ]


def report_plots():
    of_models = [
        shown(f"plots/{model}-{plot}.svg", plot, "Models", model=model, plot=plot)
        for model in CHAIN.trained_classifiers
        for plot in PLOTS_OF_MODELS
    ]
    of_sky = [
        shown(f"plots/sky-{plot}.svg", plot, "Sky", map=plot)
        for plot in PLOTS_OF_SKY
        if CHAIN.classifiers
    ]
    return of_models + of_sky


# What every target asks for by itself. Snakemake records a job that failed as up to date, and does not make again a
# missing file between two others: only a target that is missing brings it back.
EVERY_STAGE = [
    *([f"{CHAIN.output}/tiling/images.json", named_images] if CHAIN.has_images else []),
    segmentation_manifests,
    segmenter_manifests,
    f"{CHAIN.output}/tiling/plan.json",
    named_plan,
    source_manifests,
    feature_manifests,
    training_manifests,
    export_manifests,
    inference_manifests,
    seals,
    shifts,
]
