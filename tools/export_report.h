/* What vlm-export says about an export: on the terminal, and in the folder as model card and
 * checklist. */
#pragma once

#include "formats/export.h"
#include "tools/cli.h"

typedef struct {
    const vlmp_export *export;
    const char *output;     /* the folder, as given; NULL in a dry run without one */
    const char *base_model; /* ORG/NAME on the hub, or NULL */
    cJSON *report;          /* a document of vlm-eval --json, or NULL; owned */
    const cJSON *result;    /* its entry about the packed file */
} vlmp_export_facts;

/* Reads what vlm-eval --json printed. Without an entry of the packed file's name: VLMP_ERR_INPUT.
 */
int vlmp_export_read_report(vlmp_export_facts *facts, const char *path, vlmp_error *err);
void vlmp_export_facts_free(vlmp_export_facts *facts);

/* Every tensor and what became of it in a dry run, else a summary; with --json a document. */
int vlmp_export_print(const vlmp_export_facts *facts, const vlmp_cli_args *args, bool dry_run,
                      vlmp_error *err);

/* README.md and CHECKLIST.md. */
int vlmp_export_write_documents(const vlmp_export_facts *facts, vlmp_outfolder *folder,
                                vlmp_error *err);

/* Parts that both documents use. */

/* The command that serves the folder, one line. */
void vlmp_export_command(vlmp_buffer *out, const vlmp_export_facts *facts);

/* The architecture: the family's name, or the model_type of one that is not run. */
const char *vlmp_export_name(const vlmp_export *export);

/* Tensors by fate. */
void vlmp_export_count_fates(const vlmp_export *export, size_t counts[3]);

/* A number of the result by its path ("kl.mean", "bleu.3"); false: there is none. */
bool vlmp_export_number(const vlmp_export_facts *facts, const char *path, double *value);

/* Appends the texts; shortage of memory sets out->failed. */
void vlmp_export_card(vlmp_buffer *out, const vlmp_export_facts *facts);
void vlmp_export_checklist(vlmp_buffer *out, const vlmp_export_facts *facts);
