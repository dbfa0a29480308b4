# report: pages a person reads, and plots for `snakemake --report`.
#   reads   the seals, the plan, the models' manifests, the fits' metrics, predictions and histories, the benchmarks,
#           the survey's maps
#   writes  report/index.html, report/model-{model}.html, report/plots/


def shown(name, caption, category, **labels):
    return report(
        f"<results>/report/{name}",
        caption=f"../report/{caption}.rst",
        category=category,
        labels=labels,
    )


def model_pages():
    return [
        shown(f"model-{model}.html", "model", "Run", page=model)
        for model in CHAIN.models
    ]


def plots():
    of_models = [
        shown(f"plots/{model}-{plot}.svg", plot, "Models", model=model, plot=plot)
        for model in CHAIN.trained_models
        for plot in (
            "confusion",
            "calibration",
            "magnitude",
            "thresholds",
            "importance",
        )
    ]
    of_sky = [
        shown(f"plots/sky-{plot}.svg", plot, "Sky", map=plot)
        for plot in ("density", "entropy")
        if CHAIN.models
    ]
    return of_models + of_sky


rule report_page:
    """Draw the run: how good the models are, what the sky looks like, where every row went."""
    input:
        seals=seals,
        models=export_manifests,
    output:
        page=shown("index.html", "page", "Run", page="overview"),
        models=model_pages(),
        plots=plots(),
    log:
        "<logs>/report_page.log",
    benchmark:
        "<benchmarks>/report_page.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=memory,
        runtime=60,
    params:
        maps=CHAIN.maps_digest,
    script:
        "../../scripts/report_page.py"
