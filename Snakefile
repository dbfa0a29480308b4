from snakemake.utils import min_version

min_version("9.27")

# One file describes a run: with --configfile yours replaces the embedded survey's instead of being mixed with it.
if "survey" not in config:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/tiling.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/segmenting.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/export.smk"
include: "workflow/rules/inference.smk"
include: "workflow/rules/release.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        *EVERY_STAGE,
        rules.report_page.output,


onstart:
    note_begin()


onsuccess:
    # A part of a run may have sealed no catalogue yet: then there is nothing to say.
    print("\n".join(what_stands(CHAIN.output)))
    note_end(succeeded=True)


onerror:
    note_end(succeeded=False)
