# training: join labels, split by sky, audit, fit, calibrate, evaluate on the locked test set; compare with the survey.
#   reads   labels, catalogues/features/; training_shift also catalogues/{model}/
#   writes  training/


checkpoint training_set:
    """Join labels to features and split them by sky; its content digest stands in the paths of what follows."""
    input:
        features=feature_manifests,
        # Where a model looks at pixels: its fit is named by those that the labelled sources lie on.
        images=images_of_set,
    output:
        set="<results>/training/set.json",
    log:
        "<logs>/training_set.log",
    benchmark:
        "<benchmarks>/training_set.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 16
    resources:
        mem_mb=memory,
        runtime=120,
    params:
        labels=CHAIN.labels_digest,
        settings=CHAIN.training_set_settings,
    script:
        "../../scripts/training_set.py"


rule training_fit:
    """Fit, calibrate and evaluate one model."""
    input:
        set=training_set_file,
        members=member_manifests,
        # Only of a model that weighs its rows by the survey: new sky then trains it again.
        survey=survey_to_weigh_by,
        images=images_of_model,
    output:
        manifest="<results>/training/{model}/{fit}/manifest.json",
    log:
        "<logs>/training_fit/{model}-{fit}.log",
    benchmark:
        "<benchmarks>/training_fit/{model}-{fit}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: fit_threads
    resources:
        mem_mb=CHAIN.fit_memory_mb,
        runtime=480,
    script:
        "../../scripts/training_fit.py"


rule training_shift:
    """Say how the survey differs from the rows that one model learned from; no model is made from it."""
    input:
        fit=own_fit_manifest,
        set=training_set_file,
        features="<results>/catalogues/features/seal.json",
        catalogue="<results>/catalogues/{model}/seal.json",
    output:
        shift="<results>/training/shift/{model}/shift.json",
        card="<results>/training/shift/{model}/card.md",
    log:
        "<logs>/training_shift/{model}.log",
    benchmark:
        "<benchmarks>/training_shift/{model}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=memory,
        runtime=60,
    params:
        settings=CHAIN.shift_settings,
    script:
        "../../scripts/training_shift.py"
